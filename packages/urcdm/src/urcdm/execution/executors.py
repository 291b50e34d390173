"""Who works off batches of patches: the seam between a slide's order and the devices that draw it."""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from numpy.typing import NDArray

from cdm_core.diffusion.sampler import TakeSteps
from urcdm.execution.conditions import KeptConditions
from urcdm.execution.patch_task import StageKey, Task, stage_of
from urcdm.execution.tasks import PreparedBatch, prepare_batch
from urcdm.layout.order import Cell, Front
from urcdm.model import Urcdm

LEAST_MAKERS, MOST_MAKERS = 2, 16
"""Threads that make tasks, one fewer than there are cores: enlarging and blending pictures leaves the interpreter free
most of the time. Each takes some 60 MB for patches of 1,024 px."""
Finished = list[NDArray[Any]]


class Executor(Protocol):
    """Works off batches of tasks, here or elsewhere; see `urcdm.execution.tasks.run_tasks`."""

    @property
    def workers(self) -> int:
        """How many batches are worked on at a time; one more for each may wait for its turn."""
        ...

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch; what comes of them is in their order."""
        ...


class SerialExecutor(ABC):
    """Works off batches in this process, one at a time, while whoever hands them out prepares the next.

    A context manager: it ends when its last batch has.
    """

    workers = 1

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="urcdm")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch."""
        return self._thread.submit(self.run, tasks)

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Finished:
        """Works off a batch now."""


class InProcessExecutor(SerialExecutor):
    """Works with a model of this process.

    On a GPU the next batch is prepared, noise and copies, while one is at work.

    Args:
        model: The model, on the device to use.
        full: Stages whose batches are filled up to a size, with patches that are thrown away: a compiled network takes
            one size only.
        parts: A batch is cut into so many, which are worked on side by side, each with its share of torch's threads.
            On a CPU two halves on a core each are done sooner than the whole on two cores.
        takes: How the patches of stages take their steps, where they do not take one after the other; see
            `cdm_core.stages.inference.compiled_steps`.
    """

    def __init__(
        self,
        model: Urcdm,
        *,
        full: Mapping[StageKey, int] | None = None,
        parts: int = 1,
        takes: Mapping[StageKey, TakeSteps] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.full, self.parts, self.takes = model, dict(full or {}), parts, dict(takes or {})
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            parts, "urcdm-part", initializer=torch.set_num_threads, initargs=(max(1, self._threads // parts),)
        )
        self._kept = KeptConditions()
        self._preparing = None
        if model.cascades[0].device.type == "cuda":
            self._preparing = ThreadPoolExecutor(1, thread_name_prefix="urcdm-prepare")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._preparing is not None:
            self._preparing.shutdown(cancel_futures=True)
        self._pool.shutdown()
        self._kept.clear()

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch."""
        if self._preparing is None:
            return super().submit(tasks)
        prepared = self._preparing.submit(self.prepare, tasks)
        return self._thread.submit(lambda: self.finish(prepared.result())[: len(tasks)])

    def run(self, tasks: Sequence[Task]) -> Finished:
        """Works off a batch now."""
        if self.full.get(stage_of(tasks[0])) or self.parts == 1 or len(tasks) == 1:
            if self.parts > 1:  # threads that are new take the number that was set last, in any thread
                torch.set_num_threads(self._threads)
            return self._work(tasks)
        size = -(-len(tasks) // self.parts)
        shares = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        return [each for done in self._pool.map(self._work, shares) for each in done]

    def prepare(self, tasks: Sequence[Task]) -> PreparedBatch:
        """Prepares a batch, filled up where its stage wants that; a GPU is not waited for."""
        missing = self.full.get(stage_of(tasks[0]), 0) - len(tasks)
        return prepare_batch(self.model, [*tasks, *[tasks[-1]] * missing], self._kept)

    def finish(self, batch: PreparedBatch) -> Finished:
        """Works off a prepared batch now."""
        finished = batch.run(self.takes.get(batch.stage))
        self._kept.measure(self.model.cascades[batch.stage[0]].device)
        return finished

    def _work(self, tasks: Sequence[Task]) -> Finished:
        return self.finish(self.prepare(tasks))[: len(tasks)]


def work_off(
    executor: Executor, front: Front, make: Callable[[Cell], Task], batch: int
) -> Iterator[list[tuple[Cell, NDArray[Any]]]]:
    """Works off the patches of a stage, as many at a time as are ready and fit, and yields every batch that is done.

    Whoever is idle gets its share of what is ready; a batch is handed out in advance only if it is full, since patches
    that become ready meanwhile would fill it. Tasks are made ahead by threads. What is yielded counts as finished when
    the next batch is asked for.

    Args:
        executor: Who works.
        front: The patches, and which wait for which.
        make: Makes the task of a patch, in any of several threads; all that it waits for are finished then.
        batch: Most patches of a batch.
    """
    pending: dict[Future[Finished], list[Cell]] = {}
    made: deque[tuple[Cell, Future[Task]]] = deque()
    makers = ThreadPoolExecutor(count_makers(), thread_name_prefix="urcdm-make")

    def make_ahead(count: int) -> None:
        made.extend((cell, makers.submit(make, cell)) for cell in front.take(count - len(made)))

    try:
        while True:
            while count := _batch(executor.workers, len(pending), len(front) + len(made), batch):
                make_ahead(count)
                chosen = [made.popleft() for _ in range(count)]
                pending[executor.submit([task.result() for _, task in chosen])] = [cell for cell, _ in chosen]
            if not pending:
                return
            make_ahead(batch * executor.workers)
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                cells = pending.pop(future)
                yield list(zip(cells, future.result(), strict=True))
                for cell in cells:
                    front.finish(cell)
    finally:
        makers.shutdown(cancel_futures=True)
        for future in pending:
            future.cancel()


def count_makers() -> int:
    """Returns how many threads make tasks on this machine."""
    return max(LEAST_MAKERS, min((os.cpu_count() or 1) - 1, MOST_MAKERS))


def _batch(workers: int, pending: int, ready: int, batch: int) -> int:
    """How many of the patches that are ready to hand out as the next batch."""
    if pending < workers:
        return min(batch, -(-ready // (workers - pending)))
    return batch if pending < 2 * workers and ready >= batch else 0
