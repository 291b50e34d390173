"""The same slide from one process and from the workers of a real Ray cluster on this machine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from urcdm import (
    LocalPatchExecutor,
    PatchExecutor,
    PatchTask,
    RayPatchExecutor,
    RunSettings,
    SerialPatchExecutor,
    SlideRun,
    Task,
    Urcdm,
    WorkerError,
)
from urcdm.execution import on_ray
from urcdm.execution.on_ray import share_of_cpus
from urcdm.execution.tasks import stage_of

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else, under `uv run`, workers get environments of their own
ray = pytest.importorskip("ray", reason="the extra urcdm[ray] is not installed")

SIZE_L0 = (64, 48)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import this file
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Urcdm]) -> Urcdm:
    return make_model()


def draw(model: Urcdm, folder: Path, executor: PatchExecutor, batch: int, joint: bool = False) -> NDArray[np.uint8]:
    run = SlideRun.open(folder, model, RunSettings(SIZE_L0, joint=joint), resume=True)
    for _ in run.sample(executor, batch):
        pass
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px)


MEETING = PatchTask(level=9, stage=0, position=(0, 0), seed=0)


class Mortal(SerialPatchExecutor):
    """A worker whose process is killed while it works on a batch, if there is a file that says so.

    It does not start while the folder 'gone' exists, and holds a `MEETING` back until it has a second one.
    """

    def __init__(self, folder: Path, death: Path) -> None:
        super().__init__()
        while (death.parent / "gone").exists():
            time.sleep(0.05)
        self.inner, self.death, self.pair = LocalPatchExecutor(Urcdm.load(folder)), death, threading.Barrier(2)
        self.met = False

    def submit(self, tasks: Sequence[Task]) -> "Future[list[NDArray[Any]]]":
        if tasks[0] == MEETING:
            self.pair.wait(timeout=60)
            self.met = True
        return super().submit(tasks)

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        if tasks[0] == MEETING:
            return [np.asarray(self.met)]
        if self.death.exists() and stage_of(tasks[0]) == (2, 0):
            self.death.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner.run(tasks)


def test_two_workers_draw_the_slide_of_one_process_and_so_they_do_when_one_is_killed(
    cluster: None, model: Urcdm, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    death, gone = tmp_path / "death", tmp_path / "gone"
    wanted = {
        joint: draw(model, tmp_path / f"one-{joint}", LocalPatchExecutor(model), 8, joint) for joint in (False, True)
    }
    with RayPatchExecutor(workers=2) as executor:
        executor.start(partial(Mortal, tmp_path / "model", death))
        batches = [executor.submit([MEETING]) for _ in range(4)]  # each worker has two batches at a time
        assert all(batch.result()[0] for batch in batches)
        for batch, joint, killed in ((1, False, 0), (4, True, 0), (3, False, 1)):
            if killed:
                death.touch()
                gone.mkdir()  # none starts in its place: the run continues with the other
            found = draw(model, tmp_path / f"{batch}-{joint}-{killed}", executor, batch, joint)
            assert np.abs(found.astype(int) - wanted[joint]).max() <= 1
            assert executor.lost == killed
        gone.rmdir()


class Fails(SerialPatchExecutor):
    """A worker that raises an error at its first batch, and dies at its second."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        self.batches += 1
        if self.batches > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyError("what it cannot do")


@pytest.mark.thorough
def test_errors_of_workers_come_as_they_are_and_a_deadly_batch_ends_the_run(
    cluster: None, model: Urcdm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "MOST_LOST", 1)
    with RayPatchExecutor(workers=1) as executor:
        with pytest.raises(ValueError, match="invalid literal"):
            executor.start(partial(int, "x"))
        executor.start(Fails)
        with pytest.raises(KeyError, match="what it cannot do"):
            draw(model, tmp_path / "error", executor, 2)
        assert executor.lost == 0
        with pytest.raises(WorkerError, match="1 workers in a row were lost with one batch"):
            draw(model, tmp_path / "death", executor, 2)


def test_a_worker_gets_no_more_cpus_than_a_machine_has() -> None:
    assert [share_of_cpus([8, 8], workers) for workers in (1, 2, 3, 5, 16)] == [8, 8, 4, 2, 1]
    assert share_of_cpus([2], 2) == share_of_cpus([1, 1], 1) == share_of_cpus([], 1) == 1


def test_more_workers_than_processors_are_refused(cluster: None) -> None:
    with pytest.raises(WorkerError, match="wanted 1 to 2 workers"):
        RayPatchExecutor(workers=3)
