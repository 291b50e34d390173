from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import urcdm.tasks
from cdm_core.inference import prepare_for_sampling
from urcdm import Canvas, CanvasError, InProcessExecutor, PatchTask, RunSettings, StageKey, Urcdm, generate, stage_batch

MakeModel = Callable[..., Urcdm]
STAGES = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
HIGH = STAGES[-1]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    model = make_model()
    for cascade in model.cascades:
        for unet in cascade.unets:
            torch.nn.init.normal_(unet.final_conv.weight, std=0.1)  # fresh ones are zero: they predict nothing
    return model


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[list[PatchTask]]:
    """The batches that are sampled from now on."""

    def sample_patches(model: Urcdm, tasks: list[PatchTask]) -> list[NDArray[np.uint8]]:
        batches.append(tasks)
        return own(model, tasks)

    batches: list[list[PatchTask]] = []
    own = urcdm.tasks.sample_patches
    monkeypatch.setattr(urcdm.tasks, "sample_patches", sample_patches)
    return batches


def patches(count: int) -> list[PatchTask]:
    """Tasks of the last stage, each with its own pictures."""
    rng = np.random.default_rng(0)

    def picture(side: int, channels: int) -> NDArray[np.uint8]:
        return rng.integers(0, 256, (side, side, channels), np.uint8)

    return [PatchTask(*HIGH, (0, i), i, context=picture(16, 6), lowres=picture(4, 3)) for i in range(count)]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_batches_are_filled_up_without_changing_what_is_drawn(
    model: Urcdm, sampled: list[list[PatchTask]], count: int
) -> None:
    tasks = patches(count)
    wanted = InProcessExecutor(model).run(tasks)
    found = InProcessExecutor(model, full={HIGH: 4}, parts=2).run(tasks)  # of one size, so in one part
    assert [len(batch) for batch in sampled] == [count, 4]
    assert len(found) == count
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_every_stage_may_have_its_own_batch(model: Urcdm, sampled: list[list[PatchTask]], tmp_path: Path) -> None:
    settings = RunSettings((64, 64), steps=1)
    sizes = {key: number + 1 for number, key in enumerate(STAGES)}
    canvas = Canvas(tmp_path, settings.identity(model), model.config)
    for _ in generate(model, canvas, InProcessExecutor(model, full={(1, 1): 4}), settings, batch=sizes):
        pass
    largest: dict[StageKey, int] = {}
    for batch in sampled:
        key = (batch[0].level, batch[0].stage)
        largest[key] = max(largest.get(key, 0), len(batch))
    assert largest == {**dict.fromkeys(STAGES, 1), (1, 1): 4, HIGH: 5}  # a field of one patch, then 2 x 2, then 5 x 5


def test_two_precisions_do_not_meet_on_a_canvas(model: Urcdm, tmp_path: Path) -> None:
    settings = RunSettings((64, 64), precision="bf16")
    Canvas(tmp_path, settings.identity(model), model.config)
    Canvas(tmp_path, settings.identity(model), model.config)
    with pytest.raises(CanvasError, match="precision = bf16, not fp32"):
        Canvas(tmp_path, RunSettings((64, 64)).identity(model), model.config)


def test_a_model_in_bf16_has_a_fingerprint(make_model: MakeModel) -> None:
    model = make_model()
    before = model.fingerprint()
    prepare_for_sampling(model.cascades[0].unets[0], precision="bf16")
    assert model.fingerprint() != before


@pytest.mark.parametrize("key", STAGES)
def test_the_batch_of_a_stage_is_measured_with_its_true_shapes(
    model: Urcdm, sampled: list[list[PatchTask]], key: StageKey
) -> None:
    best = stage_batch(model, key, limit=4)
    assert best.size in (1, 2, 4)
    assert best.seconds_per_image > 0
    assert {(task.level, task.stage, task.steps) for batch in sampled for task in batch} == {(*key, 1)}
    sampled.clear()
    assert stage_batch(model, key, limit=4, size=3).size == 3
    assert {len(batch) for batch in sampled} == {3}


def test_measuring_leaves_no_trace(model: Urcdm) -> None:
    wanted: Any = InProcessExecutor(model).run(patches(2))
    stage_batch(model, HIGH, limit=2)
    assert all(
        (one == other).all() for one, other in zip(InProcessExecutor(model).run(patches(2)), wanted, strict=True)
    )
