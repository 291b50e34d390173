"""Crops on their way to a device: made in worker processes, pinned, and copied while the device is at work."""

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from cdm_core import TrainingError
from cdm_core.training.prepared_examples import count_workers, loaded_batches
from maskcond.segmentation.errors import SegmentationError

T = TypeVar("T")
Workers = int | Literal["auto"]
"""How many processes read and augment crops: 'auto' takes the cores less one for a GPU, and none for the CPU."""


def check_workers(workers: Workers) -> None:
    """Makes sure that so many worker processes can be started.

    Raises:
        SegmentationError: It is neither 'auto' nor 0 or more.
    """
    if workers != "auto" and workers < 0:
        raise SegmentationError(f"wanted workers of at least 0, or 'auto', got {workers}")


def load_batches(
    dataset: Dataset[Any], numbers: range, device: torch.device, workers: Workers, **options: Any
) -> Iterator[Any]:
    """Yields items of a data set in their order, in batches; on their way to a GPU in pinned memory.

    An item depends on its number alone, so neither workers nor an interruption changes it.

    Args:
        dataset: Makes an item of its number.
        numbers: The items.
        device: Where the batches go.
        workers: Processes that make them.
        options: More of `torch.utils.data.DataLoader`'s.

    Raises:
        SegmentationError: A worker process died.
    """
    count = min(count_workers(workers, device), max(len(numbers), 1))
    loader: DataLoader[Any] = DataLoader(
        dataset,
        sampler=numbers,
        num_workers=count,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws from the global one
        **options,
    )
    try:
        yield from loaded_batches(loader, count)
    except TrainingError as error:
        raise SegmentationError(str(error)) from None
