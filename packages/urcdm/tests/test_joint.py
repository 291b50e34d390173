"""Joint sampling against the one loop of cdm-core, run over the whole canvas with predictions averaged."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdm_core import SamplingConfig, sample
from cdm_core.diffusion.schedule import Schedule
from urcdm import (
    Canvas,
    LocalPatchExecutor,
    PatchTask,
    RunSettings,
    SerialPatchExecutor,
    SlideRun,
    Task,
    Urcdm,
)
from urcdm.canvas.patch_store import PatchStore
from urcdm.execution import conditions
from urcdm.execution.fixed_point import pack, unpack
from urcdm.execution.tasks import DenoiseTask
from urcdm.sampling import joint
from urcdm.sampling.level_run import LevelRun
from urcdm.sampling.place_noise import noise_key, place_noise
from wsi_tiling import TissueRule

pytestmark = pytest.mark.once

SIZE_L0 = (96, 64)
SMALL_L0 = (32, 24)
"""3 x 2 patches of the last level, and one of the others."""
MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model()


@pytest.fixture(scope="module")
def slide(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """What all runs of the model must draw."""
    return draw(model, tmp_path_factory.mktemp("slide"))


@pytest.fixture(scope="module")
def small_slide(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    return draw(model, tmp_path_factory.mktemp("small"), size=SMALL_L0)


def draw(
    model: Urcdm,
    folder: Path,
    executor: SerialPatchExecutor | None = None,
    batch: int = 8,
    size: tuple[int, int] = SIZE_L0,
    **settings: Any,
) -> NDArray[np.uint8]:
    run = SlideRun.open(folder, model, RunSettings(size, joint=True, **settings), resume=True)
    for _ in run.sample(executor or LocalPatchExecutor(model), batch):
        pass
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px)


def levels(model: Urcdm, folder: Path) -> tuple[LevelRun, ...]:
    return SlideRun.open(folder, model, RunSettings(SIZE_L0, joint=True), resume=True).levels()


class Shrinks(SerialPatchExecutor):
    """A network that takes every window for the sum of a known picture and noise, and is wrong by its place in it."""

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        return [self._one(task) for task in tasks]

    def _one(self, task: Task) -> NDArray[Any]:
        if not isinstance(task, DenoiseTask):
            side = 16 if task.stage or task.level == 2 else 8
            return np.full((side, side, 3), 128, np.uint8)
        return pack(shrunk(unpack(task.noisy)))


def shrunk(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `Shrinks` predicts: linear, and not the same for a place that lies elsewhere in the window."""
    place = np.linspace(-0.3, 0.3, noisy.shape[0], dtype=np.float32)
    return 0.4 * noisy + place[:, None, None] + place[None, :, None] ** 2


@pytest.mark.parametrize("sampling", [("dpmpp_2m", 0.0), ("ddim", 0.0)])
def test_it_is_the_one_loop_run_over_the_whole_canvas(
    make_model: MakeModel, tmp_path: Path, sampling: tuple[str, float]
) -> None:
    model = make_model(sampling=SamplingConfig(steps=5, method=sampling[0], eta=sampling[1], lowres_noise=0.1))
    found = draw(model, tmp_path, Shrinks())

    level = levels(model, tmp_path)[-1]
    geometry, mosaic = level.geometry, level.picture.mosaic
    width, height = mosaic.size_px

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        whole = x[0].permute(1, 2, 0).numpy()

        def window(position: tuple[int, int]) -> NDArray[np.float32]:
            left, top = mosaic.origin(position)
            return shrunk(whole[top : top + 16, left : left + 16])

        mean = mosaic.blend((0, 0, width, height), list(geometry.grid), window, np.float32)
        return torch.from_numpy(mean).permute(2, 0, 1)[None]

    noise = place_noise(noise_key(0, 2, 0, 0), (0, 0, width, height))
    wanted = sample(
        denoise,
        torch.from_numpy(noise.copy()).permute(2, 0, 1)[None],
        schedule=Schedule(model.cascades[2].config.stages[0].schedule),
        times=5,
        method=sampling[0],
    )
    pixels = (wanted[0].permute(1, 2, 0).numpy().clip(-1, 1) + 1) * 127.5
    assert np.abs(found - pixels).max() <= 1.5  # half precision on disk, and rounding to whole grey values


def test_noise_of_every_step_is_that_of_its_place(make_model: MakeModel, tmp_path: Path) -> None:
    """A stochastic solver gives patches the same noise where they overlap: windows of one picture stay that."""
    model = make_model(sampling=SamplingConfig(steps=4, method="ddpm", lowres_noise=0.1))
    draw(model, tmp_path, Shrinks())
    picture = levels(model, tmp_path)[-1].picture
    left, right = picture.store.load((0, 0)), picture.store.load((0, 1))
    overlap = 16 - picture.mosaic.xs[1]
    assert np.abs(left[:, -overlap:].astype(int) - right[:, :overlap]).max() <= 1


@pytest.mark.parametrize("batch", [1, 16])
def test_the_batch_does_not_change_the_slide(
    model: Urcdm, slide: NDArray[np.uint8], tmp_path: Path, batch: int
) -> None:
    assert np.abs(draw(model, tmp_path, batch=batch).astype(int) - slide).max() <= 1


class Dies(LocalPatchExecutor):
    def __init__(self, model: Urcdm, batches: int) -> None:
        super().__init__(model)
        self.left = batches

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        if self.left == 0:
            raise ConnectionError("the worker is lost")
        self.left -= 1
        return super().run(tasks)


@pytest.mark.parametrize("batches", [3, 8, 21])
def test_a_run_that_broke_off_goes_on_within_a_step(
    model: Urcdm, slide: NDArray[np.uint8], tmp_path: Path, batches: int
) -> None:
    with pytest.raises(ConnectionError):
        draw(model, tmp_path, Dies(model, batches), batch=4)
    assert np.abs(draw(model, tmp_path).astype(int) - slide).max() <= 1
    assert not list(tmp_path.glob("*-step-*"))


class HalfGlass(Shrinks):
    """Draws one colour of tissue, but bare glass on the right of the medium level."""

    def _one(self, task: Task) -> NDArray[Any]:
        patch = task.patch if isinstance(task, DenoiseTask) else task
        side = 8 if patch.stage == 0 and patch.level < 2 else 16
        pixels = np.broadcast_to(GLASS if patch.level == 1 and patch.position[1] else TISSUE, (side, side, 3))
        if isinstance(task, DenoiseTask):
            return pack(pixels.astype(np.float32))
        return np.rint((pixels + 1) * 127.5).astype(np.uint8)


TISSUE, GLASS = np.array([0.4, -0.4, 0.3]), np.array([0.9, 0.9, 0.9])


def test_patches_without_tissue_hold_their_share_of_the_overlaps(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model(tissue=TissueRule(min_hue=0.5, min_saturation=0.05))
    draw(model, tmp_path, HalfGlass())
    level = levels(model, tmp_path)[-1]
    high = level.picture
    assert level.skipped
    assert level.order.sampled

    def pixels(position: tuple[int, int]) -> NDArray[Any]:
        return (
            level.enlarged_parent(position, 16)
            if level.order.skipped[position]
            else np.full((16, 16, 3), (TISSUE + 1) * 127.5)
        )

    for position in level.order.sampled:
        window = high.mosaic.window(position)
        wanted = high.mosaic.blend(window, high.mosaic.positions_at(*window), pixels, np.float32)
        assert np.abs(high.store.load(position) - wanted).max() <= 1.5


def test_a_solver_of_two_predictions_a_step_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model(sampling=SamplingConfig(steps=2, method="heun", lowres_noise=0.1))
    with pytest.raises(ValueError, match="one prediction a step, got heun"):
        draw(model, tmp_path)


def test_there_is_nothing_to_resample() -> None:
    with pytest.raises(ValueError, match="nothing to resample"):
        RunSettings(SIZE_L0, joint=True, resample=2)


@pytest.mark.parametrize(
    ("share", "every_s", "saved"), [(0.25, 10**9, {0}), (0.25, 0, {0, 1, 2}), (0.0, 10**9, {0, 1, 2})]
)
def test_steps_are_saved_now_and_then_if_they_fit_into_memory(
    model: Urcdm,
    small_slide: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    every_s: float,
    saved: set[int],
) -> None:
    def scratch(canvas: Canvas, name: str, *args: Any) -> PatchStore:
        opened.append(name)
        return own(canvas, name, *args)

    opened: list[str] = []
    own = Canvas.scratch
    monkeypatch.setattr(Canvas, "scratch", scratch)
    monkeypatch.setattr(joint, "STEPS_SHARE", share)
    monkeypatch.setattr(joint, "SAVE_EVERY_S", every_s)
    assert np.abs(draw(model, tmp_path, size=SMALL_L0).astype(int) - small_slide).max() <= 1
    assert {int(name.split("-step-")[1][0]) for name in opened if name.startswith("high")} == saved
    assert not list(tmp_path.glob("*-step-*"))


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_what_was_saved_is_not_predicted_again(
    model: Urcdm, small_slide: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(joint, "STEPS_SHARE", share)
    monkeypatch.setattr(joint, "SAVE_EVERY_S", 0)
    whole, before, after = Dies(model, 10**6), Dies(model, 7), Dies(model, 10**6)
    draw(model, tmp_path / "whole", whole, batch=4, size=SMALL_L0)
    with pytest.raises(ConnectionError):
        draw(model, tmp_path / "broken", before, batch=4, size=SMALL_L0)
    assert np.abs(draw(model, tmp_path / "broken", after, batch=4, size=SMALL_L0).astype(int) - small_slide).max() <= 1
    assert 7 + (10**6 - after.left) <= 10**6 - whole.left + 1  # what was at work


def test_conditions_and_their_noise_are_made_once_for_all_steps(
    model: Urcdm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(level: LevelRun, stage: int, position: tuple[int, int]) -> PatchTask:
        reads[level.number, stage, position] += 1
        return own_read(level, stage, position)

    def draw_noise(shape: tuple[int, ...], generators: list[torch.Generator], device: torch.device) -> torch.Tensor:
        images.append(len(generators))
        return own_noise(shape, generators, device)

    reads: Counter[tuple[int, int, tuple[int, int]]] = Counter()
    images: list[int] = []
    own_read, own_noise = LevelRun.conditions, conditions.draw_noise
    monkeypatch.setattr(LevelRun, "conditions", read)
    monkeypatch.setattr(conditions, "draw_noise", draw_noise)
    monkeypatch.setattr(joint, "CONDITIONS_BYTES", 0)  # but a share of the free memory
    draw(model, tmp_path / "three", batch=4, size=SMALL_L0)
    assert set(reads.values()) == {1}
    drawn = sum(images)
    images.clear()
    draw(model, tmp_path / "one", batch=4, size=SMALL_L0, steps=1)
    assert sum(images) == drawn
