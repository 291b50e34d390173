"""The best number of images to process together, found by measuring."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

GAIN = 0.05
"""By which share of the time of a step a batch of twice the size must be faster."""


Run = Callable[[int, int], object]
"""Samples a batch of the size given in the number of steps given, and returns when it is done."""


@dataclass(frozen=True)
class BatchSize:
    """A batch size, and the time of an image in batches of it.

    Args:
        size: Images together.
        seconds_per_image: Time of one step of an image: the network's.
        seconds_around: Time of an image besides its steps: noise, copies to the device, the copy back.
    """

    size: int
    seconds_per_image: float
    seconds_around: float = 0.0

    def seconds(self, steps: int, *, speed_up: float = 1.0) -> float:
        """Projects the time of an image of so many steps, where the next batch is prepared while one is at work.

        Args:
            steps: Number of steps.
            speed_up: How many times faster the network is than measured.
        """
        return max(steps * self.seconds_per_image / speed_up, self.seconds_around)


def best_batch_size(run: Run, *, limit: int, clock: Callable[[], float] = time.perf_counter) -> BatchSize:
    """Doubles the batch until memory is full, a step of an image hardly gets faster, or the limit is reached.

    The time of a batch besides its steps does not count. Memory of failed attempts is released.

    Args:
        run: Does the work. Called three times for each size: the first time may be slow for other reasons.
        limit: Largest size to try, which need not be a power of two.
        clock: Gives the time in seconds.

    Returns:
        The smallest size from which twice as many are not worth it.

    Raises:
        ValueError: The limit is under 1.
        RuntimeError: One image does not fit into memory.
    """
    if limit < 1:
        raise ValueError(f"the limit of a batch is at least 1, got {limit}")
    best = time_batch(run, 1, clock=clock)
    while best.size < limit:
        larger = _time_if_it_fits(run, min(2 * best.size, limit), clock)
        if larger is None or larger.seconds_per_image > (1 - GAIN) * best.seconds_per_image:
            break
        best = larger
    torch.cuda.empty_cache()  # of what failed; does nothing where there is no GPU
    return best


def time_batch(run: Run, size: int, *, clock: Callable[[], float] = time.perf_counter) -> BatchSize:
    """Measures a batch size, as `best_batch_size` does: a step by what two steps more take."""
    run(size, 1)
    started = clock()
    run(size, 1)
    between = clock()
    run(size, 3)
    once, thrice = between - started, clock() - between
    step = max(0.0, (thrice - once) / 2)
    return BatchSize(size, step / size, max(0.0, once - step) / size)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that a device's memory is full."""
    signs = ("you tried to allocate", "out of memory", "_ALLOC_FAILED")  # the CPU's, a driver's, a library's
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def _time_if_it_fits(run: Run, size: int, clock: Callable[[], float]) -> BatchSize | None:
    try:
        return time_batch(run, size, clock=clock)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None
