"""Networks of a job trained side by side: a process for each, as many at a time as there are GPUs."""

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch
from rich.progress import Progress, TaskID

from run_folder import FolderLock, LockedError, environment, first_line
from run_folder.cli.console import errors, progress_bars
from urcdm import TrainingPlan
from urcdm_app.errors import user_message
from urcdm_app.options.training import JobOptions
from urcdm_app.training.training_job import JobEvent, TrainingJob, closed

START_METHOD: Literal["spawn", "fork"] = "spawn"
"""A process that is forked cannot use a GPU."""
TELL_EVERY_S = 0.2
"""A process tells of its progress no more often."""


@dataclass(frozen=True)
class Ended:
    """The end of a network's training.

    Args:
        error: Why it failed, in one line; None if it did not, or was stopped.
        trace: The traceback of a fault of the program.
    """

    error: str | None = None
    trace: str = ""


def train_in_processes(job: TrainingJob[Any], places: Sequence[str | None]) -> list[str]:
    """Trains the chosen networks of a job; one that fails does not stop the others.

    A network that another run trains at the moment is passed over. On Ctrl-C all networks save their states.

    Args:
        job: The job, whose run folder is ready.
        places: For each process at a time, the GPU as CUDA_VISIBLE_DEVICES names it; None for the CPU.

    Returns:
        Names of the networks that failed.
    """
    with progress_bars(notes=True) as bars:
        crew = _Crew(job, places, bars)
        try:
            crew.work()
        except KeyboardInterrupt:
            crew.stop()  # a second Ctrl-C ends the processes at once
            raise
        finally:
            crew.kill()
    return crew.failed


@dataclass
class _Worker:
    """A process that trains one network."""

    name: str
    place: str | None
    process: BaseProcess
    task: TaskID
    end: Ended | None = None


class _Crew:
    """The processes at work, and the networks that wait for one."""

    def __init__(self, job: TrainingJob[Any], places: Sequence[str | None], bars: Progress) -> None:
        self.job, self.bars = job, bars
        self.failed: list[str] = []
        self._free = deque(places)
        self._waiting = deque(job.chosen)
        self._threads = max(1, torch.get_num_threads() // len(places))
        self._share = len(places)
        self._workers: dict[Connection, _Worker] = {}

    def work(self) -> None:
        """Trains until no network is left."""
        while self._waiting or self._workers:
            while self._waiting and self._free:
                self._start(self._waiting.popleft())
            for pipe in wait(list(self._workers)):
                self._listen(pipe)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Ends all networks after the step they are at, and waits until they are saved."""
        self._waiting.clear()
        for pipe in self._workers:
            with contextlib.suppress(OSError):
                pipe.send("stop")
        self.work()

    def kill(self) -> None:
        """Ends the processes that are left."""
        for pipe, worker in self._workers.items():
            worker.process.kill()
            worker.process.join()
            pipe.close()

    def _start(self, name: str) -> None:
        job = self.job
        if _is_taken(job, name):
            self._tell(f"{name}: another run trains it; passed over")
            return
        place = self._free.popleft()
        context: Any = multiprocessing.get_context(START_METHOD)
        ours, theirs = context.Pipe()
        arguments = (type(job), job.for_network(name), job.plan, name, self._threads, theirs)
        process = context.Process(target=train_network, args=arguments, daemon=False)
        settings = {"LOCAL_WORLD_SIZE": str(self._share)} | ({} if place is None else {"CUDA_VISIBLE_DEVICES": place})
        task = self.bars.add_task(name, total=job.steps(name), note="starts" if place is None else f"GPU {place}")
        with environment(settings), _interrupts_held_back():
            process.start()
            theirs.close()
            self._workers[ours] = _Worker(name, place, process, task)

    def _listen(self, pipe: Connection) -> None:
        worker = self._workers[pipe]
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            self._leave(pipe, worker)
            return
        if isinstance(message, Ended):
            worker.end = message
        else:
            where = "" if worker.place is None else f"GPU {worker.place}, "
            self.bars.update(worker.task, completed=message.done, note=f"{where}{message.note}")

    def _leave(self, pipe: Connection, worker: _Worker) -> None:
        """Takes note of the end of a process."""
        worker.process.join()
        del self._workers[pipe]
        pipe.close()
        self._free.append(worker.place)
        end, code = worker.end, worker.process.exitcode
        if end is None:
            how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
            end = Ended(f"its process ended {how}, perhaps out of memory; go on with --resume")
        if end.error is None:
            return
        self.failed.append(worker.name)
        self.bars.update(worker.task, note="failed")
        if end.trace:
            self._tell(end.trace)
        self._tell(f"{worker.name}: {end.error}")

    def _tell(self, line: str) -> None:
        errors.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def _is_taken(job: TrainingJob[Any], name: str) -> bool:
    """Whether another run is at work in one of a network's folders."""
    try:
        for folder in job.folders(name):
            with FolderLock(job.options.out / folder):
                pass
    except LockedError:
        return True
    return False


def train_network(
    kind: type[TrainingJob[Any]], options: JobOptions, plan: TrainingPlan, name: str, threads: int, pipe: Connection
) -> None:
    """Trains one network, in a process of its own.

    Args:
        kind: The job.
        options: The job's options for the network.
        plan: The job's plan, which may have changed on disk since.
        name: The network.
        threads: Of torch on the CPU.
        pipe: Takes progress and the end; whatever comes from it, its end too, ends the training.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one says when to stop
    torch.set_num_threads(threads)
    with contextlib.suppress(BrokenPipeError):
        try:
            job = kind(options, plan)
            with closed(job.train(name, job.data(name, job.open_data()), resume=True)) as events:
                _tell_progress(events, pipe)
        except Exception as error:
            line = user_message(error)
            fault = f"a fault of the program, {type(error).__name__}: {first_line(error)}"
            pipe.send(Ended(line or fault, "" if line else traceback.format_exc()))
        else:
            pipe.send(Ended())


def _tell_progress(events: Iterator[JobEvent], pipe: Connection) -> None:
    last, sent_s = None, 0.0
    for event in events:
        last = event
        if time.monotonic() - sent_s > TELL_EVERY_S:
            pipe.send(event)
            last, sent_s = None, time.monotonic()
        if pipe.poll():
            return
    if last is not None:
        pipe.send(last)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Holds Ctrl-C back to the end of the block; a process that is started there never gets it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
