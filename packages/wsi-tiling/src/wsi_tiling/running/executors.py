"""Executors that run many tasks: in this process, or in other processes of this machine.

A task that fails becomes a result and does not stop the others, not even if its process dies.
"""

import multiprocessing
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from run_folder import first_line
from wsi_tiling.checks import check_number, check_whole
from wsi_tiling.errors import SlideError

Task = TypeVar("Task")
Result = TypeVar("Result")
FailureKind: TypeAlias = Literal["refused", "fault", "died", "too slow"]


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The result of a task.

    Args:
        number: The position of the task in the list.
        value: What the task returned.
    """

    number: int
    value: Result


@dataclass(frozen=True)
class Failed:
    """A task that failed.

    Args:
        number: The position of the task in the list.
        kind: 'refused', by a SlideError or by the system; a 'fault' of the program; its process 'died'; 'too slow'.
        reason: Why, in one line.
        trace: Where in the program, for a fault.
        errno: The system's number of the error, where the system refused.
    """

    number: int
    kind: FailureKind
    reason: str
    trace: str = ""
    errno: int | None = None


class TaskExecutor(Protocol):
    """Runs tasks."""

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Done[Result] | Failed]:
        """Yields the result of each task, in the order in which they end."""
        ...


class LocalTaskExecutor:
    """Runs tasks one after the other, in this process."""

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Done[Result] | Failed]:
        """Yields the result of each task, in their order."""
        return (attempt(work, number, task) for number, task in enumerate(tasks))


class ProcessTaskExecutor:
    """Runs tasks in processes of this machine.

    Work, tasks and results are pickled. A process that dies or takes too long is replaced. When the iterator is closed,
    be it by an error or by Ctrl-C, its processes are ended. A script that uses this has to guard what it does by
    `if __name__ == "__main__"`.

    Args:
        workers: How many processes.
        timeout_s: Longest time that a task may take, seconds; without end if not given.

    Raises:
        SlideError: There are no workers, or there is no time.
    """

    def __init__(self, workers: int, timeout_s: float | None = None) -> None:
        check_whole("one worker or more", workers, least=1)
        self.workers, self.timeout_s = workers, checked_timeout(timeout_s)

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Done[Result] | Failed]:
        """Yields the result of each task, in the order in which they end.

        Raises:
            SlideError: The processes cannot be started.
        """
        pool = _ProcessPool(work, self.timeout_s)
        # One thread waits for each process.
        with ThreadPoolExecutor(self.workers) as threads:
            try:
                futures = [threads.submit(pool.do, number, task) for number, task in enumerate(tasks)]
                for future in as_completed(futures):
                    yield future.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                pool.stop()


class _ProcessPool:
    """Processes that all run one function. Each is used by one thread at a time."""

    def __init__(self, work: Callable[[Any], Any], timeout_s: float | None) -> None:
        self._work, self._timeout_s = work, timeout_s
        self._idle: deque[_Worker] = deque()
        self._all: list[_Worker] = []
        self._stopped = False
        self._starting = threading.Lock()

    def do(self, number: int, task: Any) -> Any:
        """Runs a task in a process."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = self._start()
        outcome = worker.do(number, task, self._timeout_s)
        if worker.process.is_alive():
            self._idle.append(worker)
        return outcome

    def stop(self) -> None:
        """Ends all processes, busy or idle."""
        with self._starting:
            self._stopped = True
        for worker in self._all:
            worker.end()

    def _start(self) -> "_Worker":
        with self._starting:
            if self._stopped:
                raise SlideError("the work was stopped")
            worker = _Worker(self._work)
            self._all.append(worker)
        worker.wait_until_ready()
        return worker


class _Worker:
    """A process that runs one task after the other."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        try:
            self._pipe.recv()
        except EOFError:
            self.end()
            raise SlideError(
                "a worker process ended before its first task; a script has to guard its code by "
                "if __name__ == '__main__'"
            ) from None

    def do(self, number: int, task: Any, timeout_s: float | None) -> Any:
        try:
            self._pipe.send((number, task))
            if not self._pipe.poll(timeout_s):
                self.end()
                return Failed(number, "too slow", f"took longer than {timeout_s:g} s")
            return self._pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Failed(number, "died", f"its process ended unasked, {_how_it_ended(self.process.exitcode)}")

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def attempt(work: Callable[[Task], Result], number: int, task: Task) -> Done[Result] | Failed:
    """Runs a task; every exception becomes a failure, except those that end the process."""
    try:
        return Done(number, work(task))
    except SlideError as error:
        return Failed(number, "refused", str(error))
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else first_line(error)
        return Failed(number, "refused", reason, errno=error.errno)
    except MemoryError:
        return Failed(number, "refused", "there is too little memory")
    except Exception as error:
        reason = f"a fault of the program, {type(error).__name__}: {first_line(error)}"
        return Failed(number, "fault", reason, traceback.format_exc())


def checked_timeout(timeout_s: float | None) -> float | None:
    """The time itself; SlideError if it is not positive."""
    if timeout_s is not None:
        check_number("a positive time, in seconds", timeout_s, above=0)
    return timeout_s


def _serve(pipe: "Connection[Any, Any]", work: Callable[[Any], Any]) -> None:
    """Runs the tasks from a pipe until it is closed: the main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    try:
        pipe.send("ready")
        while True:
            number, task = pipe.recv()
            pipe.send(attempt(work, number, task))
    except (EOFError, BrokenPipeError):
        return


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    return f"by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
