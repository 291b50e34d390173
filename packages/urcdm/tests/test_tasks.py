import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdm_core import Cascade
from cdm_core.stages.inference import prepare_for_sampling
from urcdm import (
    CanvasError,
    DenoiseTask,
    LocalPatchExecutor,
    PatchTask,
    RunSettings,
    SlideRun,
    StageKey,
    Task,
    Urcdm,
    stage_batch,
)
from urcdm.execution import conditions, executors, work
from urcdm.execution.batches import PatchBatch, prepare_batch, run_tasks
from urcdm.execution.conditions import KeptConditions

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

    def prepare(model: Urcdm, tasks: list[PatchTask]) -> PatchBatch:
        batches.append(tasks)
        return own(model, tasks)

    batches: list[list[PatchTask]] = []
    own = PatchBatch.prepare
    monkeypatch.setattr(PatchBatch, "prepare", prepare)
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
    wanted = LocalPatchExecutor(model).run(tasks)
    found = LocalPatchExecutor(model, full={HIGH: 4}, parts=2).run(tasks)  # of one size, so in one part
    assert [len(batch) for batch in sampled] == [count, 4]
    assert len(found) == count
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_every_stage_may_have_its_own_batch(model: Urcdm, sampled: list[list[PatchTask]], tmp_path: Path) -> None:
    run = SlideRun.open(tmp_path, model, RunSettings((64, 64), steps=1))
    sizes = {key: number + 1 for number, key in enumerate(STAGES)}
    for _ in run.sample(LocalPatchExecutor(model, full={(1, 1): 4}), sizes):
        pass
    largest: dict[StageKey, int] = {}
    for batch in sampled:
        key = (batch[0].level, batch[0].stage)
        largest[key] = max(largest.get(key, 0), len(batch))
    assert largest == {**dict.fromkeys(STAGES, 1), (1, 1): 4, HIGH: 5}  # a field of one patch, then 2 x 2, then 5 x 5


def test_two_precisions_do_not_meet_on_a_canvas(model: Urcdm, tmp_path: Path) -> None:
    for _ in range(2):
        SlideRun.open(tmp_path, model, RunSettings((64, 64), precision="bf16"), resume=True)
    with pytest.raises(CanvasError, match="precision = bf16, not fp32"):
        SlideRun.open(tmp_path, model, RunSettings((64, 64)), resume=True)


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
    assert best.seconds_per_image >= 0
    assert {(task.level, task.stage, task.steps) for batch in sampled for task in batch} == {(*key, 1), (*key, 3)}
    sampled.clear()
    assert stage_batch(model, key, limit=4, size=3).size == 3
    assert {len(batch) for batch in sampled} == {3}


def test_measuring_leaves_no_trace(model: Urcdm) -> None:
    wanted: Any = LocalPatchExecutor(model).run(patches(2))
    stage_batch(model, HIGH, limit=2)
    assert all(
        (one == other).all() for one, other in zip(LocalPatchExecutor(model).run(patches(2)), wanted, strict=True)
    )


def noisy(count: int, seed: int = 0) -> list[DenoiseTask]:
    """The same patches as steps of joint sampling."""
    rng = np.random.default_rng(seed)
    return [DenoiseTask(patch, rng.integers(-4096, 4096, (16, 16, 3), np.int16), 0.5) for patch in patches(count)]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each draw of noise for conditions from now on, its number of images."""

    def count(shape: tuple[int, ...], generators: list[torch.Generator], device: torch.device) -> torch.Tensor:
        counts.append(len(generators))
        return own(shape, generators, device)

    counts: list[int] = []
    own = conditions.draw_noise
    monkeypatch.setattr(conditions, "draw_noise", count)
    return counts


def test_conditions_and_their_noise_stay_from_step_to_step(model: Urcdm, draws: list[int]) -> None:
    wanted = [run_tasks(model, noisy(4, step)) for step in range(3)]
    draws.clear()
    kept = KeptConditions()
    for step in range(3):
        found = prepare_batch(model, noisy(4, step), kept).run()
        assert all((one == other).all() for one, other in zip(found, wanted[step], strict=True))
    assert draws == [4, 4]  # for the centres of contexts, and for low-resolution images, at the first step alone
    mixed = [noisy(4, 1)[3], *noisy(6, 1)[4:], noisy(4, 1)[0]]
    found, wanted[1] = prepare_batch(model, mixed, kept).run(), run_tasks(model, mixed)
    assert all((one == other).all() for one, other in zip(found, wanted[1], strict=True))
    assert draws[2:4] == [2, 2]


def test_conditions_stay_within_their_room(model: Urcdm, draws: list[int]) -> None:
    kept = KeptConditions()
    prepare_batch(model, noisy(2), kept)
    two = kept.nbytes
    assert two == 2 * (16 * 16 * 6 + 4 * 4 * 3 + 4 * 2 * 3 * 16 * 16)
    small = KeptConditions(limit=two)
    for tasks in (noisy(4)[:2], noisy(4)[2:]):
        prepare_batch(model, tasks, small)
    assert small.nbytes == two
    draws.clear()
    for tasks in (noisy(4)[:2], noisy(4)[2:]):
        prepare_batch(model, tasks, small)
    assert draws == [2, 2]  # of those that came last
    prepare_batch(model, patches(1), small)
    assert small.nbytes == 0  # nothing is held while patches are sampled one after the other


class Waits:
    """A batch whose work ends when another one has been prepared, or after a while."""

    stage = HIGH

    def __init__(self, tasks: Sequence[Task], prepared: list["Waits"], enough: threading.Event) -> None:
        self.tasks, self.enough, self.prepared_in = tasks, enough, threading.current_thread().name
        prepared.append(self)
        if len(prepared) == 2:
            enough.set()

    def run(self, take: object = None) -> list[Any]:
        waited = self.enough.wait(1)
        return [(waited, self.prepared_in == threading.current_thread().name) for _ in self.tasks]


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_on_a_gpu_the_next_batch_is_prepared_while_one_is_at_work(
    model: Urcdm, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    batches: list[Waits] = []
    enough = threading.Event()
    if device == "cpu":
        enough.set()
    monkeypatch.setattr(Cascade, "device", torch.device(device))
    monkeypatch.setattr(executors, "prepare_batch", lambda _model, tasks, _kept: Waits(tasks, batches, enough))
    with LocalPatchExecutor(model, full={HIGH: 3}) as executor:
        first, second = executor.submit(patches(2)), executor.submit(patches(2))
        on_gpu = device == "cuda"
        assert first.result() == second.result() == [(True, not on_gpu)] * 2
    assert [len(batch.tasks) for batch in batches] == [3, 3]


def test_an_error_of_the_preparation_comes_by_the_result(model: Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Cascade, "device", torch.device("cuda"))
    monkeypatch.setattr(executors, "prepare_batch", fail)
    with LocalPatchExecutor(model) as executor, pytest.raises(RuntimeError, match="out of memory"):
        executor.submit(patches(1)).result()


@pytest.mark.parametrize(("cores", "makers"), [(None, 2), (2, 2), (8, 7), (96, 16)])
def test_as_many_threads_make_tasks_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, makers: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert work.count_makers() == makers
