"""The processes that share a training run: they begin it together and end it together."""

import contextlib
import datetime
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

import torch
from accelerate import Accelerator, PartialState

from cdm_core.errors import PeerError
from run_folder import first_line

PATIENCE = datetime.timedelta(hours=2)
"""How long processes wait for the one that saves, validates and draws samples."""
AGREE_EVERY = 10
"""Most steps between two moments at which processes agree on whether to stop."""
MOST_PRESSED = 3
"""So many Ctrl-C end a process at once; a launcher sends one beside the terminal's."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


@dataclass(frozen=True)
class Processes:
    """The processes that `accelerate launch` or `torchrun` started together, seen from one of them.

    Args:
        index: Number of this process; 0 is the main one, which looks after files and shows progress.
        count: How many there are.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def join(cls, *, cpu: bool) -> Self:
        """Connects this process with the others of its launch, if there are any.

        Args:
            cpu: Whether they calculate on the CPU.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        state = PartialState(cpu=cpu, timeout=PATIENCE)
        return cls(state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that looks after files and shows progress."""
        return self.index == 0

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Ends a block in all processes or in none; each waits here for the others.

        Raises:
            PeerError: It failed in another process.
        """
        try:
            yield
        except BaseException:
            self._gather(failed=True)
            raise
        if failed := self._gather(failed=False):
            raise PeerError(f"process {failed[0]} cannot begin; see its message")

    def _gather(self, *, failed: bool) -> list[int]:
        """The processes that failed."""
        if self.count == 1:
            return []
        answers: list[bool] = [False] * self.count
        torch.distributed.all_gather_object(answers, failed)
        return [index for index, answer in enumerate(answers) if answer]

    def is_first_to_fail(self, error: Exception) -> bool:
        """Whether this process is to print its error: of an error that several have, one line is enough."""
        if self.count == 1:
            return True
        if isinstance(error, PeerError):
            return False
        store = torch.distributed.distributed_c10d._get_default_store()
        try:
            return bool(store.add("failed", 1) == 1)
        except RuntimeError:  # the store ended with the process that held it, which had its reason
            return False


def is_lost_peer(error: Exception) -> bool:
    """Whether an error says that another process of the run has ended in the middle of a step."""
    lost = isinstance(error, RuntimeError) and any(words in first_line(error) for words in _LOST)
    return lost or isinstance(error, torch.distributed.DistError)


class Interruption:
    """Ctrl-C in a run that several processes share, which all leave after the same step; a context manager.

    A process that left in the middle of a step would leave the others waiting for it, and the main one could not save.
    Here Ctrl-C is noted, and the processes exchange these notes now and then. With one process nothing changes.

    Args:
        accelerator: Of the run.
        every: Steps between two exchanges, for instance where processes wait for the device anyway.
    """

    def __init__(self, accelerator: Accelerator, every: int) -> None:
        self._accelerator, self._every = accelerator, min(every, AGREE_EVERY)
        self._pressed = 0
        self._agreed = False
        self._before: Any = None
        self._watches = accelerator.num_processes > 1 and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._watches:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._agreed:  # a launcher ends all processes as soon as one has ended, and the main one may still save
            self._accelerator.wait_for_everyone()
        if self._watches:
            signal.signal(signal.SIGINT, self._before)

    def check(self, step: int) -> None:
        """Ends the run after a step, in all processes, if one of them was interrupted. All call it alike.

        Raises:
            KeyboardInterrupt: One was.
        """
        if self._accelerator.num_processes == 1 or step % self._every:
            return
        pressed = torch.tensor(self._pressed, device=self._accelerator.device)
        if int(self._accelerator.reduce(pressed, reduction="sum")):
            self._agreed = True
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pressed += 1
        if self._pressed == MOST_PRESSED:
            raise KeyboardInterrupt
