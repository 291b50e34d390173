"""Class-balanced sampling of crops, in which rare structures are more frequent."""

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
    """Settings of the sampling of crops.

    Args:
        share: Share of class-balanced crops: a class is sampled uniformly, then an image in proportion to the class's
            area in it, and the crop holds a pixel of the class. The other crops are uniform over all images.

    Raises:
        MaskError: The share is not in [0, 1].
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise MaskError(f"wanted a share in [0, 1], got {self.share}")


class BalancedCrops:
    """Samples an image and a window of it, such that every crop of the window satisfies the balance.

    Args:
        images: The images; with a share over 0 each is read once, to count its pixels of each class.
        codec: Codec of the labels.
        crop_px: Side of the crops, px.
        balance: Settings of the sampling.
    """

    def __init__(self, images: Sequence[LabelledImage], codec: MaskCodec, crop_px: int, balance: ClassBalance) -> None:
        self.images, self.crop_px, self.balance = images, crop_px, balance
        self.areas: NDArray[np.int64] = np.zeros((0, codec.channels), np.int64)
        """Number of pixels of each class in each image, (N, C)."""
        if balance.share:
            self.areas = np.stack([_areas(image.labels, codec) for image in images])
        self.present = np.flatnonzero(self.areas.sum(axis=0))

    def draw(self, generator: np.random.Generator) -> tuple[int, Window]:
        """Samples the index of an image, and rows and columns of it."""
        if not self.present.size or generator.random() >= self.balance.share:
            return int(generator.integers(len(self.images))), (slice(None), slice(None))
        kind = int(generator.choice(self.present))
        areas = self.areas[:, kind]
        index = int(generator.choice(len(areas), p=areas / areas.sum()))
        labels = self.images[index].labels
        if labels is None:  # its area of every class was 0, so it is never sampled
            raise MaskError(f"{self.images[index].name}: the labels were removed meanwhile; start again")
        pixels = np.flatnonzero(labels == kind + 1)
        row, col = divmod(int(pixels[generator.integers(pixels.size)]), labels.shape[1])
        return index, (self._around(row), self._around(col))

    def _around(self, position: int) -> slice:
        """The range of all crops that hold a position along an axis."""
        return slice(max(position - self.crop_px + 1, 0), position + self.crop_px)


def _areas(labels: Labels | None, codec: MaskCodec) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(codec.channels, np.int64)
    codec.check(labels)
    return np.bincount(labels.ravel(), minlength=codec.channels + 1)[1:]
