"""An executor that runs tasks on a Ray cluster. Needs the extra `wsi-tiling[ray]`."""

import importlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from run_folder import first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.running.executors import Done, Failed, Result, Task, attempt, checked_timeout

ANSWER_S = 10
"""Seconds that a cluster has to answer."""


class RayTaskExecutor:
    """Runs tasks on a Ray cluster.

    Every machine needs this package, and the slides under the same paths. Results come back here, so what is written is
    written on this machine. A program that has connected to Ray keeps its connection; otherwise this connects, and
    disconnects at the end.

    Args:
        address: The cluster's address, or 'auto' for the one that this machine belongs to; None starts Ray on this
            machine alone, or takes the one that RAY_ADDRESS names.
        at_once: How many tasks are given to the cluster at a time; as many as it has CPUs if not given.
        timeout_s: Longest time that a task may take, seconds, its start included; without end if not given.

    Raises:
        SlideError: Less than one task at a time, or no time.
    """

    def __init__(self, address: str | None = None, at_once: int | None = None, timeout_s: float | None = None) -> None:
        if at_once is not None and at_once < 1:
            raise SlideError(f"wanted one task at a time or more, got {at_once}")
        self.address, self.at_once, self.timeout_s = address, at_once, checked_timeout(timeout_s)

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Done[Result] | Failed]:
        """Yields the result of each task, in the order in which they end.

        Raises:
            SlideError: Ray is not installed, or there is no cluster at the address.
        """
        ray, connects = connect_to_ray(self.address)
        try:
            yield from self._run(ray, work, tasks)
        finally:
            if connects:
                ray.shutdown()

    def _run(self, ray: Any, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Done[Result] | Failed]:
        at_once = self.at_once or max(1, int(ray.cluster_resources().get("CPU", 1)))
        function, shared = ray.remote(max_retries=0)(attempt), ray.put(work)
        waiting = iter(enumerate(tasks))
        begun: dict[Any, tuple[int, float]] = {}
        try:
            while True:
                while len(begun) < at_once and (following := next(waiting, None)) is not None:
                    begun[function.remote(shared, *following)] = following[0], time.monotonic()
                if not begun:
                    return
                oldest = min(since for _, since in begun.values())
                left = None if self.timeout_s is None else max(0.0, oldest + self.timeout_s - time.monotonic())
                ended, _ = ray.wait(list(begun), num_returns=1, timeout=left)
                for task in ended:
                    yield _outcome(ray, task, begun.pop(task)[0])
                for task, (number, since) in list(begun.items()):
                    if self.timeout_s is not None and time.monotonic() - since > self.timeout_s:
                        ray.cancel(task, force=True)
                        del begun[task]
                        yield Failed(number, "too slow", f"took longer than {self.timeout_s:g} s")
        finally:
            for task in begun:
                ray.cancel(task, force=True)


def _outcome(ray: Any, task: Any, number: int) -> Any:
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        return Failed(number, "died", f"Ray lost it: {first_line(error)}")


def connect_to_ray(address: str | None) -> tuple[Any, bool]:
    """Connects to a Ray cluster, unless the program has already; returns the module, and whether this connected.

    Raises:
        SlideError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise SlideError("Ray is not installed: pip install 'wsi-tiling[ray]'") from None
    if ray.is_initialized():
        return ray, False
    try:
        _check_answers(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise SlideError(f"no Ray cluster at '{address}': {first_line(error)}") from error
    return ray, True


def _check_answers(address: str | None) -> None:
    """Raises OSError if no process listens at HOST:PORT: Ray itself would try for more than ten minutes."""
    place = os.environ.get("RAY_ADDRESS", "") if address in (None, "auto") else str(address)
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
