"""Loading of training crops: made in worker processes, pinned, and copied while the device works."""

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from cdm_core import TrainingError
from cdm_core.training.prepared_examples import count_workers, loaded_batches
from maskcond.segmentation.errors import SegmentationError

T = TypeVar("T")
Workers = int | Literal["auto"]
"""Number of processes that read and augment crops; 'auto': all cores but one for a GPU, none for the CPU."""


def check_workers(workers: Workers) -> None:
    """Checks a number of worker processes.

    Raises:
        SegmentationError: The number is neither 'auto' nor 0 or more.
    """
    if workers != "auto" and workers < 0:
        raise SegmentationError(f"wanted workers of at least 0, or 'auto', got {workers}")


def load_batches(
    dataset: Dataset[Any], numbers: range, device: torch.device, workers: Workers, **options: Any
) -> Iterator[Any]:
    """Yields items of a data set in order, in batches, in pinned memory for a GPU.

    An item depends on its number alone, so neither the number of workers nor an interruption changes it.

    Args:
        dataset: Data set that makes an item from its number.
        numbers: Numbers of the items.
        device: Device that the batches are for.
        workers: Number of processes that make the items.
        options: Further options of `torch.utils.data.DataLoader`.

    Raises:
        SegmentationError: A worker process died.
    """
    count = min(count_workers(workers, device), max(len(numbers), 1))
    loader: DataLoader[Any] = DataLoader(
        dataset,
        sampler=numbers,
        num_workers=count,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # otherwise it uses the global one
        **options,
    )
    try:
        yield from loaded_batches(loader, count)
    except TrainingError as error:
        raise SegmentationError(str(error)) from None
