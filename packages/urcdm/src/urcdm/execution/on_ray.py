"""Runs batches of patches on the GPUs and machines of a Ray cluster: the extra `urcdm[ray]`."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from run_folder import first_line
from urcdm.errors import WorkerError
from urcdm.execution.executors import Finished, SerialPatchExecutor
from urcdm.execution.tasks import Task
from wsi_tiling import connect_to_ray

STARTING_S = 300
BATCHES_EACH = 2
"""Batches of a worker at a time: one that runs, and one that it prepares meanwhile."""
MOST_LOST = 3
"""Workers that may be lost in a row with one batch, which then counts as the cause."""
Answer = TypeVar("Answer")


class RayPatchExecutor:
    """Runs batches with workers of a Ray cluster, each with one GPU; without GPUs, each is one process.

    Workers hold a model and no other state: each batch contains all its inputs. While a batch runs, a worker prepares
    the next one, if its executor does so. Other workers take the batches of a lost worker, and a new one is started.
    The run continues without it until it has started, or for good if the machine is lost. Every machine needs this
    package, and the model that `start` needs.

    A context manager, at whose end the workers stop. A program that has connected to Ray keeps its connection.

    Args:
        address: The cluster's address, or 'auto' for the one that this machine belongs to; None starts Ray on this
            machine alone, or takes the one that RAY_ADDRESS names.
        workers: Number of workers; None for one for each GPU, or one if there is no GPU.

    Attributes:
        workers: Number of workers.
        gpus_each: GPUs of a worker, 0 or 1.
        lost: Number of workers lost so far.

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
        self._remote_workers: list[_RemoteWorker] = []
        self._lock = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(BATCHES_EACH * self.workers, thread_name_prefix="urcdm-ray")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            self._kill(self._remote_workers)
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
            WorkerError: A worker was lost. An error of `make` is raised unchanged.
        """
        workers = [self._new_worker(make) for _ in range(self.workers)]
        try:
            hellos = [worker.actor.hello.remote() for worker in workers]
            started, _ = self._ray.wait(hellos, num_returns=self.workers, timeout=STARTING_S)
            if len(started) < self.workers:
                raise WorkerError(f"{len(started)} of {self.workers} workers started in {STARTING_S} s: is Ray in use?")
            self._get([worker.ready for worker in workers])
        except BaseException:
            self._kill(workers)
            raise
        self._make, self._remote_workers = make, workers
        return self

    def submit(self, tasks: Sequence[Task]) -> "Future[Finished]":
        """Hands out tasks of one kind and stage as one batch.

        Raises:
            WorkerError: Raised by the result, if several workers in a row were lost with this batch.
        """
        return self._threads.submit(self._work, tasks)

    def _work(self, tasks: Sequence[Task]) -> Finished:
        reason = ""
        for _ in range(MOST_LOST):
            worker = self._choose()
            try:
                self._ray.get(worker.ready)
                finished: Finished = self._ray.get(worker.actor.run.remote(tasks))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                reason = first_line(error)
                if not self._replace(worker):
                    break
            else:
                return finished
            finally:
                with self._lock:
                    worker.batches -= 1
        raise WorkerError(f"{MOST_LOST} workers in a row were lost with one batch, the last one because: {reason}")

    def _choose(self) -> "_RemoteWorker":
        """Waits until a worker has started; returns the one with fewest batches, and counts one more for it."""
        until_s = time.monotonic() + STARTING_S
        while (left_s := until_s - time.monotonic()) > 0:
            with self._lock:
                starting = [worker.ready for worker in self._remote_workers]
                started, _ = self._ray.wait(starting, num_returns=len(starting), timeout=0)
                ready = [worker for worker in self._remote_workers if worker.ready in started]
                if ready:
                    chosen = min(ready, key=lambda worker: worker.batches)
                    chosen.batches += 1
                    return chosen
            self._ray.wait(starting, num_returns=1, timeout=left_s)
        raise WorkerError(f"all workers were lost, and no other started in {STARTING_S} s: is Ray in use?")

    def _replace(self, lost: "_RemoteWorker") -> bool:
        """Starts a worker in place of a lost one, unless that is done; returns False if the executor has ended."""
        with self._lock:
            if not self._closed and lost in self._remote_workers and self._make is not None:
                self.lost += 1
                self._kill([lost])
                self._remote_workers[self._remote_workers.index(lost)] = self._new_worker(self._make)
            return not self._closed

    def _new_worker(self, make: Callable[[], SerialPatchExecutor]) -> "_RemoteWorker":
        options = {"num_cpus": self._cpus_each, "num_gpus": self.gpus_each, "max_restarts": 0}
        actor = self._ray.remote(**options, max_concurrency=BATCHES_EACH)(_Worker).remote()
        return _RemoteWorker(actor, actor.start.remote(make))

    def _kill(self, workers: "Sequence[_RemoteWorker]") -> None:
        for worker in workers:
            self._ray.kill(worker.actor)

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


@dataclass(eq=False)
class _RemoteWorker:
    """A worker, and its number of batches.

    Args:
        actor: Ray's handle of its process.
        ready: Ray's reference to the call of `start`, which ends when the worker can run batches.
        batches: Number of its batches that are not finished.
    """

    actor: Any
    ready: Any
    batches: int = 0


class _Worker:
    """The state of a worker's process, whose calls run in parallel."""

    def hello(self) -> None:
        """Returns once the process has started."""

    def start(self, make: Callable[[], SerialPatchExecutor]) -> None:
        self._executor = make()

    def run(self, tasks: Sequence[Task]) -> Finished:
        return self._executor.submit(tasks).result()


def share_of_cpus(machines: Sequence[int], workers: int) -> int:
    """Returns the CPUs of each worker: as many as possible, if all workers are to fit and each lies on one machine.

    Args:
        machines: CPUs of each machine.
        workers: Number of workers.

    >>> share_of_cpus([8, 8], 3)
    4
    """
    shares = range(max(machines, default=1), 1, -1)
    return next((share for share in shares if sum(cpus // share for cpus in machines) >= workers), 1)


def _call(function: Callable[[], Answer]) -> Answer:
    return function()
