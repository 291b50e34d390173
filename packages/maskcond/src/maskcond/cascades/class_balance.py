"""Crops drawn so that rare structures are seen more often than by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.errors import MaskError
from maskcond.masks.arrays import Labels
from maskcond.masks.codec import MaskCodec

Window = tuple[slice, slice]


@dataclass(frozen=True)
class ClassBalance:
    """How crops are drawn.

    Args:
        share: Share of the crops that hold a pixel of a class that was drawn first, all classes alike, the image being
            drawn by the class's area in it. The others lie anywhere in any image.

    Raises:
        MaskError: The share is not in [0, 1].
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise MaskError(f"wanted a share in [0, 1], got {self.share}")


class BalancedCrops:
    """Draws an image, and a window of it in which every crop is as the balance wants it.

    Args:
        images: The images; with a share over 0 each is read once, to count its pixels of each class.
        codec: Of their labels.
        crop_px: Side of the crops.
        balance: How they are drawn.
    """

    def __init__(self, images: Sequence[LabelledImage], codec: MaskCodec, crop_px: int, balance: ClassBalance) -> None:
        self.images, self.crop_px, self.balance = images, crop_px, balance
        self.areas: NDArray[np.int64] = np.zeros((0, codec.channels), np.int64)
        """Pixels of each class in each image."""
        if balance.share:
            self.areas = np.stack([_areas(each.labels, codec) for each in images])
        self.present = np.flatnonzero(self.areas.sum(axis=0))

    def draw(self, generator: np.random.Generator) -> tuple[int, Window]:
        """Draws the number of an image, and rows and columns of it."""
        if not self.present.size or generator.random() >= self.balance.share:
            return int(generator.integers(len(self.images))), (slice(None), slice(None))
        kind = int(generator.choice(self.present))
        areas = self.areas[:, kind]
        index = int(generator.choice(len(areas), p=areas / areas.sum()))
        labels = self.images[index].labels
        if labels is None:  # it has none of the class, so it is not drawn
            raise MaskError(f"{self.images[index].name}: its labels are gone")
        places = np.flatnonzero(labels == kind + 1)
        row, col = divmod(int(places[generator.integers(places.size)]), labels.shape[1])
        return index, (self._around(row), self._around(col))

    def _around(self, place: int) -> slice:
        """The pixels of all crops that hold a place."""
        return slice(max(place - self.crop_px + 1, 0), place + self.crop_px)


def _areas(labels: Labels | None, codec: MaskCodec) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(codec.channels, np.int64)
    codec.check(labels)
    return np.bincount(labels.ravel(), minlength=codec.channels + 1)[1:]
