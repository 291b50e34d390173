"""Reading the crops of a plan in worker processes, ahead of the extractor."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pfid.crops.plan import CropPlan, Side
from pfid.errors import ImageError, PfidError, check_whole
from pfid.images.sources import Image, Images, ImageSource, close
from run_folder import first_line

_AHEAD = 2
"""Batches in progress or waiting for each worker: these bound the memory, not the number of crops."""
_BAND_PATCHES = 4


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops that were read.

    Attributes:
        numbers: Their indices in the plan, (B,).
        patches: Their pixels, (B, P, P, 3) uint8.
    """

    numbers: NDArray[np.int64]
    patches: Image


@dataclass(frozen=True, eq=False)
class _Task:
    """The crops that a worker reads at a time."""

    numbers: NDArray[np.int64]
    image: NDArray[np.int64]
    xy: NDArray[np.float64]
    field: NDArray[np.float64]


class CropReader:
    """Reads crops in this process; the image that was read last stays open.

    Args:
        images: The images.
        patch_px: Side of the patches.
    """

    def __init__(self, images: Images, patch_px: int) -> None:
        self._images, self._patch_px = images, patch_px
        self._open: tuple[int, ImageSource] | None = None

    def read(self, task: _Task) -> CropBatch:
        """Reads some crops.

        Raises:
            ImageError: An image cannot be read; the error names it.
        """
        side = self._patch_px
        patches = np.empty((len(task.numbers), side, side, 3), np.uint8)
        for position, (image, (x, y), field) in enumerate(zip(task.image, task.xy, task.field, strict=True)):
            try:
                patches[position] = self._source(int(image)).read((float(x), float(y)), float(field), side)
            except (ValueError, OSError) as error:
                name = self._images.names[image]
                raise ImageError(f"a crop of {name} cannot be read: {first_line(error)}") from error
        return CropBatch(task.numbers, patches)

    def close(self) -> None:
        """Closes the open image, if there is one."""
        source, self._open = self._open, None
        if source is not None:
            close(source[1])

    def _source(self, image: int) -> ImageSource:
        if self._open is None or self._open[0] != image:
            self.close()
            self._open = (image, self._images.source(image))
        return self._open[1]


def read_crops(
    images: Images,
    plan: CropPlan,
    side: Side,
    *,
    batch_size: int = 64,
    workers: int = 2,
    skip: NDArray[np.bool_] | None = None,
) -> Iterator[CropBatch]:
    """Yields the crops of one side by image, magnification and position, so that neighbours share decoded tiles.

    Worker processes read ahead. They are spawned, so a script that uses them needs the guard
    `if __name__ == "__main__"`. No image is read whole unless it is in memory anyway.

    Args:
        images: The images of the plan.
        plan: The crops.
        side: The side of the plan, 'real' or 'fake'.
        batch_size: Crops at a time.
        workers: Number of processes; 0 reads in this one.
        skip: Crops not to read, (N,).

    Raises:
        PlanError: The images are not those of the plan.
        ImageError: An image cannot be read.
        PfidError: A worker process ended unexpectedly.
    """
    batch_size = check_whole("batch_size", batch_size, 1, PfidError)
    workers = check_whole("workers", workers, 0, PfidError)
    plan.side(side).check(images, side)
    order = reading_order(plan, side)
    tasks = _tasks(images, plan, side, order if skip is None else order[~skip[order]], batch_size)
    if workers:
        yield from _read_in_processes(images, plan.patch_px, tasks, workers)
        return
    reader = CropReader(images, plan.patch_px)
    try:
        yield from map(reader.read, tasks)
    finally:
        reader.close()


def reading_order(plan: CropPlan, side: Side) -> NDArray[np.int64]:
    """Indices of the crops in reading order, (N,): by image, magnification, band of rows, column."""
    corners, fields = plan.regions(side)
    octave = np.floor(np.log2(fields / plan.patch_px))
    band = corners[:, 1] // (_BAND_PATCHES * plan.patch_px * 2**octave)
    return np.lexsort((corners[:, 0], band, octave, plan.side(side).image))


def read_chosen(images: Images, plan: CropPlan, side: Side, numbers: NDArray[np.int64]) -> Image:
    """Reads a few crops of one side in this process; each image is opened once.

    Args:
        images: The images of the plan.
        plan: The crops.
        side: The side of the plan, 'real' or 'fake'.
        numbers: Indices of the crops, (B,).

    Returns:
        Their pixels, (B, P, P, 3) uint8, in the order of `numbers`.

    Raises:
        ImageError: An image cannot be read.
    """
    by_image = np.argsort(plan.side(side).image[numbers], kind="stable")
    reader = CropReader(images, plan.patch_px)
    try:
        [batch] = map(reader.read, _tasks(images, plan, side, numbers[by_image], len(numbers)))
    finally:
        reader.close()
    return batch.patches[np.argsort(by_image, kind="stable")]


def _tasks(images: Images, plan: CropPlan, side: Side, order: NDArray[np.int64], batch_size: int) -> Iterator[_Task]:
    numbers = {name: number for number, name in enumerate(images.names)}
    planned = plan.side(side)
    image = np.array([numbers[name] for name in planned.names])[planned.image]
    corners, fields = plan.regions(side)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield _Task(chosen, image[chosen], corners[chosen], fields[chosen])


def _read_in_processes(images: Images, patch_px: int, tasks: Iterator[_Task], workers: int) -> Iterator[CropBatch]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (images, patch_px))
    try:
        waiting: deque[Future[CropBatch]] = deque(pool.submit(_read, task) for task in islice(tasks, _AHEAD * workers))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(_read, task) for task in islice(tasks, 1))
            yield batch
    except BrokenProcessPool:
        raise PfidError(
            "a process that reads crops ended unexpectedly, for example because memory ran out; scripts need the guard "
            "if __name__ == '__main__'"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_reader: CropReader
"""The reader of a worker process."""


def _start(images: Images, patch_px: int) -> None:
    global _reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    # A process that is killed cannot end its workers, which would wait forever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _reader = CropReader(images, patch_px)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(task: _Task) -> CropBatch:
    return _reader.read(task)
