"""One cascade by itself, drawn patch after patch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdm_core import Cascade
from urcdm import LocalPatchExecutor, RunSettings, SettingsError, SlideRun, SlideSizeError, Urcdm, outpainting
from urcdm.execution.batches import run_tasks

SIZE = (40, 30)
MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def cascade(make_model: MakeModel) -> Cascade:
    return make_model().cascades[0]


class Watches(LocalPatchExecutor):
    """Notes every task."""

    def __init__(self, model: Urcdm) -> None:
        super().__init__(model)
        self.tasks: list = []

    def run(self, tasks: list) -> list[NDArray]:
        self.tasks.extend(tasks)
        return run_tasks(self.model, tasks)


def draw(model: Urcdm, folder: Path, *, joint: bool = False) -> tuple[NDArray[np.uint8], Watches]:
    run, executor = SlideRun.open(folder, model, RunSettings(SIZE, joint=joint)), Watches(model)
    for _ in run.sample(executor, batch=4):
        pass
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px), executor


@pytest.mark.parametrize("joint", [False, True])
def test_every_patch_is_sampled_and_none_is_given_a_context(cascade: Cascade, tmp_path: Path, joint: bool) -> None:
    model = outpainting(cascade, mpp=0.5)
    picture, executor = draw(model, tmp_path, joint=joint)
    (geometry,) = model.geometry(SIZE)
    patches = [task.patch if joint else task for task in executor.tasks]
    assert {(patch.stage, *patch.position) for patch in patches} == {
        (s, *position) for s in (0, 1) for position in geometry.grid
    }
    assert all(patch.context is None for patch in patches)
    assert picture.shape[:2] == (30, 40)
    assert (picture.std(axis=(0, 1)) > 0).all()


def test_the_grid_is_that_of_a_last_level_with_the_same_overlap(cascade: Cascade, make_model: MakeModel) -> None:
    (alone,) = outpainting(cascade, mpp=0.5, overlap=0.25).geometry((96, 64))
    last = make_model(overlap=0.25).geometry((96, 64))[-1]
    assert (alone.grid.xs, alone.grid.ys) == (last.grid.xs, last.grid.ys)
    assert alone.canvas_px == last.canvas_px == (96, 64)


def test_patches_hold_what_their_neighbours_drew(cascade: Cascade, tmp_path: Path) -> None:
    _, executor = draw(outpainting(cascade, mpp=0.5), tmp_path)
    held = {(task.stage, *task.position): float(task.known_mask.max()) for task in executor.tasks}
    assert held.pop((0, 0, 0)) == held.pop((1, 0, 0)) == 0
    assert min(held.values()) >= 0.5


def test_a_slide_of_one_patch_is_the_cascades_own_image(cascade: Cascade, tmp_path: Path) -> None:
    model = outpainting(cascade, mpp=0.5)
    run, executor = SlideRun.open(tmp_path, model, RunSettings((16, 16))), Watches(model)
    for _ in run.sample(executor):
        pass
    seeds = [torch.Generator().manual_seed(executor.tasks[0].seed)]
    first = cascade.sample(seeds)[0]
    wanted = (first[0].permute(1, 2, 0).numpy() * 255).round()
    assert np.abs(run.levels()[0].stage(0).picture(0, 0, 8, 8) - wanted).max() <= 1


def test_a_slide_may_be_larger_than_a_field_but_not_empty(cascade: Cascade) -> None:
    model = outpainting(cascade, mpp=0.5)
    assert len(model.geometry((4000, 300))) == 1
    with pytest.raises(SlideSizeError, match="1 px a side or more; got 0 x 16"):
        model.geometry((0, 16))


def test_a_model_of_one_level_is_saved_and_loaded(cascade: Cascade, tmp_path: Path) -> None:
    model = outpainting(cascade, mpp=0.5)
    model.save(tmp_path / "model")
    assert Urcdm.load(tmp_path / "model").fingerprint() == model.fingerprint()


def test_what_is_no_unconditional_cascade_is_refused(make_model: MakeModel) -> None:
    low, with_context, from_parent = make_model().cascades
    with pytest.raises(SettingsError, match="takes 6 more channels"):
        outpainting(with_context, mpp=0.5)
    enlarging = Cascade(replace(low.config, stages=low.config.stages[1:]), low.unets[1:])
    with pytest.raises(SettingsError, match="starts by enlarging 8 px"):
        outpainting(enlarging, mpp=0.5)
    with pytest.raises(SettingsError, match="mpp above 0"):
        outpainting(low, mpp=0.0)
    with pytest.raises(SettingsError, match=r"\[0, 0.5\]"):
        outpainting(low, mpp=0.5, overlap=0.7)
    with pytest.raises(SettingsError, match="channels"):
        outpainting(from_parent, mpp=0.5)
