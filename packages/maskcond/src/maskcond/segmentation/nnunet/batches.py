"""nnU-Net's batches as a data set: a batch depends on its number alone, whichever process makes it."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from maskcond.segmentation.nnunet.session import random_generators

STREAM = 2**31
"""Keeps the seeds of batches apart from those of sessions."""


class SeededBatches(Dataset[dict[str, Any]]):
    """An endless sequence of batches.

    nnU-Net's own worker processes sample without a seed and deliver batches in any order.

    Args:
        loader: Source of augmented crops, which uses the global random generators.
        seed: Seed of the training.
    """

    def __init__(self, loader: Iterator[dict[str, Any]], seed: int) -> None:
        self.loader, self.seed = loader, seed

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Returns a batch in the form that nnU-Net's trainer takes."""
        with random_generators((self.seed, STREAM, number)):
            return next(self.loader)


def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """Returns a batch unchanged; by default a `DataLoader` converts it to tensors."""
    return batch
