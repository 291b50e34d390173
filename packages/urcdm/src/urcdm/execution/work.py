"""Hands the patches of a stage to an executor in batches, each patch once all that it waits for are finished."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from numpy.typing import NDArray

from urcdm.execution.executors import Finished, PatchExecutor
from urcdm.execution.tasks import Task
from urcdm.layout.order import Front, Position

LEAST_MAKERS, MOST_MAKERS = 2, 16
"""Limits of the number of threads that make tasks, which is one fewer than there are cores: enlarging and blending
images rarely holds the interpreter's lock. Each thread takes some 60 MB for patches of 1,024 px."""


def sample_patches(
    executor: PatchExecutor, front: Front, make: Callable[[Position], Task], batch: int
) -> Iterator[list[tuple[Position, NDArray[Any]]]]:
    """Samples the patches of a stage in batches, and yields every batch that is done.

    An idle worker gets its share of the ready patches; a batch is handed out in advance only if it is full, since
    patches that become ready meanwhile would fill it. Tasks are made ahead by threads. A batch that is yielded counts
    as finished when the next one is requested.

    Args:
        executor: Runs the batches.
        front: The patches, in their order.
        make: Makes the task of a patch once all patches that it waits for are finished; called in several threads.
        batch: Most patches of a batch.
    """
    pending: dict[Future[Finished], list[Position]] = {}
    made: deque[tuple[Position, Future[Task]]] = deque()
    makers = ThreadPoolExecutor(count_makers(), thread_name_prefix="urcdm-make")

    def make_ahead(count: int) -> None:
        made.extend((position, makers.submit(make, position)) for position in front.take(count - len(made)))

    try:
        while True:
            while count := _batch(executor.workers, len(pending), len(front) + len(made), batch):
                make_ahead(count)
                chosen = [made.popleft() for _ in range(count)]
                pending[executor.submit([task.result() for _, task in chosen])] = [position for position, _ in chosen]
            if not pending:
                return
            make_ahead(batch * executor.workers)
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                positions = pending.pop(future)
                yield list(zip(positions, future.result(), strict=True))
                for position in positions:
                    front.finish(position)
    finally:
        makers.shutdown(cancel_futures=True)
        for future in pending:
            future.cancel()


def count_makers() -> int:
    """Returns the number of threads that make tasks on this machine."""
    return max(LEAST_MAKERS, min((os.cpu_count() or 1) - 1, MOST_MAKERS))


def _batch(workers: int, pending: int, ready: int, batch: int) -> int:
    """The number of ready patches to hand out as the next batch; 0 to wait."""
    if pending < workers:
        return min(batch, -(-ready // (workers - pending)))
    return batch if pending < 2 * workers and ready >= batch else 0
