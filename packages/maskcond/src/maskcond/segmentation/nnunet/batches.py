"""nnU-Net's batches as a data set: the n-th depends on its number alone, whichever process makes it."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from maskcond.segmentation.nnunet.session import random_generators

STREAM = 2**31
"""Keeps the seeds of batches apart from those of sessions, which are short."""


class SeededBatches(Dataset[dict[str, Any]]):
    """Batches without end.

    nnU-Net's own worker processes draw unseeded, and hand over whichever batch is ready.

    Args:
        loader: Draws crops and augments them, with the global random generators.
        seed: Of the training.
    """

    def __init__(self, loader: Iterator[dict[str, Any]], seed: int) -> None:
        self.loader, self.seed = loader, seed

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Returns a batch as nnU-Net's trainer takes it."""
        with random_generators((self.seed, STREAM, number)):
            return next(self.loader)


def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """Returns a batch as it is, which a `DataLoader` would turn into tensors."""
    return batch
