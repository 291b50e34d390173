"""Executors of batches of patches, which know the devices and not the order of the patches of a slide."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, Self

import torch
from numpy.typing import NDArray

from cdm_core.diffusion.sampler import TakeSteps
from cdm_core.stages.inference import compiling
from urcdm.errors import CompilationError
from urcdm.execution.batches import PreparedBatch, prepare_batch
from urcdm.execution.conditions import KeptConditions
from urcdm.execution.tasks import StageKey, Task, stage_of
from urcdm.model import Urcdm

Finished = list[NDArray[Any]]


class PatchExecutor(Protocol):
    """Runs batches of tasks, here or elsewhere; see `urcdm.execution.batches.run_tasks`."""

    @property
    def workers(self) -> int:
        """The number of batches that run at a time; as many more may wait."""
        ...

    @property
    def lost(self) -> int:
        """The number of workers that were lost and replaced so far."""
        ...

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch; the results are in their order."""
        ...


class SerialPatchExecutor(ABC):
    """Runs batches in this process, one at a time, while the caller prepares the next.

    A context manager, which waits for the last batch at its end.
    """

    workers = 1
    lost = 0

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="urcdm")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch."""
        return self._thread.submit(self.run, tasks)

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Finished:
        """Runs a batch now."""


class LocalPatchExecutor(SerialPatchExecutor):
    """Runs batches with a model of this process.

    On a GPU, the noise and the copies of the next batch are prepared while one runs.

    Args:
        model: The model, on the device to use.
        full: Batch sizes of stages whose batches are filled up with patches that are thrown away: a compiled network
            takes one size only.
        parts: Parts of a batch that run in parallel, each with its share of torch's threads. On a CPU, two halves on
            a core each take less time than the whole on two cores.
        takes: Compiled loops over the steps of stages; see `cdm_core.stages.inference.compiled_steps`.
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

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
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
        """Runs a batch now."""
        if self.full.get(stage_of(tasks[0])) or self.parts == 1 or len(tasks) == 1:
            if self.parts > 1:  # new threads take the number that any thread set last
                torch.set_num_threads(self._threads)
            return self._work(tasks)
        size = -(-len(tasks) // self.parts)
        shares = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        return [result for results in self._pool.map(self._work, shares) for result in results]

    def prepare(self, tasks: Sequence[Task]) -> PreparedBatch:
        """Prepares a batch, filled up if its stage needs it, without waiting for a GPU."""
        missing = self.full.get(stage_of(tasks[0]), 0) - len(tasks)
        return prepare_batch(self.model, [*tasks, *[tasks[-1]] * missing], self._kept)

    def finish(self, batch: PreparedBatch) -> Finished:
        """Runs a prepared batch now.

        Raises:
            CompilationError: A network cannot be compiled here.
        """
        with compiling(CompilationError, "sample without compiled networks"):
            finished = batch.run(self.takes.get(batch.stage))
        self._kept.measure(self.model.cascades[batch.stage[0]].device)
        return finished

    def _work(self, tasks: Sequence[Task]) -> Finished:
        return self.finish(self.prepare(tasks))[: len(tasks)]
