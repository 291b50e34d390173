"""Long work that reports its progress."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class WorkProgress:
    """Progress of long work.

    Attributes:
        work: Name of the work: 'images', 'real crops', 'fake crops', 'resamples' or 'training steps'.
        done: Units done.
        total: Units in all.
    """

    work: str
    done: int
    total: int


class Work(Generic[Result]):
    """Long work: iterating over it does it and yields its progress; `result()` has the result.

    Args:
        events: Yields the progress and returns the result.
    """

    def __init__(self, events: Generator[WorkProgress, None, Result]) -> None:
        self._events = events
        self._results: list[Result] = []

    def __iter__(self) -> Iterator[WorkProgress]:
        result = yield from self._events
        if not self._results:
            self._results.append(result)

    def result(self) -> Result:
        """Returns the result, after the rest of the work.

        Raises:
            RuntimeError: The work has failed or was stopped.
        """
        for _ in self if not self._results else ():
            pass
        if not self._results or self._results[0] is None:
            raise RuntimeError("the work was stopped before its end")
        return self._results[0]


def long_work(
    function: Callable[Arguments, Generator[WorkProgress, None, Result]],
) -> Callable[Arguments, Work[Result]]:
    """Makes a generator function, which yields progress and returns a result, return `Work`."""

    @wraps(function)
    def start(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Work[Result]:
        return Work(function(*args, **kwargs))

    return start
