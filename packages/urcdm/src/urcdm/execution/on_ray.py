"""Runs batches of patches on the GPUs and machines of a Ray cluster: the extra `urcdm[ray]`."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from run_folder import first_line
from urcdm.errors import WorkerError
from urcdm.execution.executors import Finished, SerialPatchExecutor
from urcdm.execution.tasks import Task
from wsi_tiling import connect_to_ray

STARTING_S = 300
MOST_LOST = 3
"""A batch that so many workers in a row were lost with is taken for the cause."""
Answer = TypeVar("Answer")


class RayPatchExecutor:
    """Runs batches with workers of a Ray cluster, one GPU each, or one process each where there are no GPUs.

    Workers hold a model and no state: each batch comes with all that it takes. The batch of a lost worker is given to
    another, and a new one is started in its place. Every machine needs this package, and the model that `start` needs.
    A context manager: workers end with it. A program that has connected to Ray keeps its connection.

    Args:
        address: The cluster's address, or 'auto' for the one that this machine belongs to; None starts Ray on this
            machine alone, or takes the one that RAY_ADDRESS names.
        workers: How many; one for each GPU if not given, or one where there is none.

    Attributes:
        workers: How many there are.
        gpus_each: GPUs of a worker, 0 or 1.
        lost: How many have been lost so far.

    Raises:
        SlideError: Ray is not installed, or there is no cluster at the address.
        WorkerError: The cluster has fewer GPUs.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._ray, self._connects = connect_to_ray(address)
        resources = self._ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self.gpus_each, self.workers = int(gpus > 0), workers or max(1, gpus)
        if not 1 <= self.workers <= (gpus or cpus):
            self._disconnect()
            raise WorkerError(
                f"wanted 1 to {gpus or cpus} workers, the {'GPUs' if gpus else 'CPUs'} there are, got {workers}"
            )
        machines = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        self._cpus_each = 1 if gpus else share_of_cpus(machines, self.workers)
        self.lost = 0
        self._make: Callable[[], SerialPatchExecutor] | None = None
        self._actors: SimpleQueue[Any] = SimpleQueue()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="urcdm-ray")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._actors.empty():
            self._ray.kill(self._actors.get())
        self._disconnect()

    def call_once(self, function: Callable[[], Answer]) -> Answer:
        """Calls a function in a process with the resources of a worker, for instance to measure something there.

        Raises:
            WorkerError: The process was lost.
        """
        remote = self._ray.remote(num_cpus=self._cpus_each, num_gpus=self.gpus_each, max_retries=0)(_call)
        answer: Answer = self._get(remote.remote(function))
        return answer

    def start(self, make: Callable[[], SerialPatchExecutor]) -> Self:
        """Starts the workers, and returns the executor.

        Args:
            make: Called once in each worker's process; what it returns works there.

        Raises:
            WorkerError: A worker was lost; an error of `make` comes as it is.
        """
        workers = [self._new_worker() for _ in range(self.workers)]
        try:
            hellos = [worker.hello.remote() for worker in workers]
            started, _ = self._ray.wait(hellos, num_returns=self.workers, timeout=STARTING_S)
            if len(started) < self.workers:
                raise WorkerError(f"{len(started)} of {self.workers} workers started in {STARTING_S} s: is Ray in use?")
            self._get([worker.start.remote(make) for worker in workers])
        except BaseException:
            for worker in workers:
                self._ray.kill(worker)
            raise
        self._make = make
        for worker in workers:
            self._actors.put(worker)
        return self

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch.

        Raises:
            WorkerError: By the result, if workers were lost with this batch again and again.
        """
        return self._threads.submit(self._work, tasks)

    def _work(self, tasks: Sequence[Task]) -> Finished:
        reason = ""
        for _ in range(MOST_LOST):
            actor = self._actors.get()
            try:
                finished: Finished = self._ray.get(actor.run.remote(tasks))
            except self._ray.exceptions.RayTaskError as error:
                self._actors.put(actor)
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                reason = first_line(error)
                if self._closed.is_set():
                    break
                self.lost += 1
                self._ray.kill(actor)
                self._actors.put(self._new_worker())
            else:
                self._actors.put(actor)
                return finished
        raise WorkerError(f"{MOST_LOST} workers were lost with one batch, the last so: {reason}")

    def _new_worker(self) -> Any:
        kind = self._ray.remote(num_cpus=self._cpus_each, num_gpus=self.gpus_each, max_restarts=0)(_Worker)
        worker = kind.remote()
        if self._make is not None:
            worker.start.remote(self._make)  # calls of a worker run in this order
        return worker

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"Ray lost a process: {first_line(error)}") from error

    def _disconnect(self) -> None:
        if self._connects:
            self._ray.shutdown()


class _Worker:
    """The state of a worker's process."""

    def hello(self) -> None:
        """Tells that the process has started."""

    def start(self, make: Callable[[], SerialPatchExecutor]) -> None:
        self._executor = make()

    def run(self, tasks: Sequence[Task]) -> Finished:
        return self._executor.run(tasks)


def share_of_cpus(machines: Sequence[int], workers: int) -> int:
    """Returns how many CPUs each worker gets: as many as leave room for all, each of them on one machine.

    Args:
        machines: CPUs of each machine.
        workers: How many workers there are.

    >>> share_of_cpus([8, 8], 3)
    4
    """
    shares = range(max(machines, default=1), 1, -1)
    return next((share for share in shares if sum(cpus // share for cpus in machines) >= workers), 1)


def _call(function: Callable[[], Answer]) -> Answer:
    return function()
