"""When to save the state of a run and to draw samples: by the number of steps, or by time."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Literal

SHARE = 0.02
"""Largest share of a run's time for interruptions that are paced by time."""
LEAST_S = 300.0
"""Seconds of training between two of them, at least."""


class Pace:
    """Decides when something that interrupts the steps is due.

    By time it is due as soon as what it took the last time is no more than `SHARE` of the time since then, and
    `LEAST_S` seconds have gone by. So a state of many GB, or a slow sheet, is written more rarely.

    Args:
        every: Steps in between, or 'auto' for by time.
        clock: Gives the time in seconds.
    """

    def __init__(self, every: int | Literal["auto"], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.every, self.clock = every, clock
        self._since, self._took_s = clock(), 0.0

    @property
    def by_time(self) -> bool:
        """Whether time decides, which differs between processes."""
        return self.every == "auto"

    def is_due(self, step: int) -> bool:
        """Returns whether it is due after a number of steps."""
        if self.every != "auto":
            return step % self.every == 0
        return self.clock() - self._since >= max(LEAST_S, self._took_s / SHARE)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Measures the time of the block, which is the interruption."""
        began = self.clock()
        yield
        self._since = self.clock()
        self._took_s = self._since - began
