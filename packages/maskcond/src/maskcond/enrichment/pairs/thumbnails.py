"""Thumbnails of parts of images, and the distances between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Image

THUMB_PX = 12
PLACES_A_SIDE = 4
"""Parts start at every quarter of a part's side."""

Thumbs = NDArray[np.float32]
"""(N, 12 * 12 * 3), in grey levels."""


@dataclass(frozen=True, eq=False)
class ImageParts:
    """Squares that cover a training image.

    Attributes:
        name: Name of the image.
        side_px: Side of the squares, px.
        thumbs: Thumbnails of the squares.
        blocks: Hashes of the image's blocks of pixels, see `maskcond.enrichment.pairs.repeats`.
    """

    name: str
    side_px: int
    thumbs: Thumbs
    blocks: NDArray[np.uint64]


def thumbs(images: Sequence[Image]) -> Thumbs:
    """Makes thumbnails of square images."""
    return np.stack([_small(image).reshape(-1) for image in images])


def turned(image: Image) -> Thumbs:
    """The thumbnail of an image in all eight orientations, (8, D)."""
    small = _small(image)
    ways = [np.rot90(side, quarter) for side in (small, small[:, ::-1]) for quarter in range(4)]
    return np.stack([way.reshape(-1) for way in ways])


def distances(some: Thumbs, others: Thumbs) -> NDArray[np.float64]:
    """Root mean square differences of N thumbnails to M others, (N, M), in grey levels."""
    left, right = some.astype(np.float64), others.astype(np.float64)
    squared = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.asarray(np.sqrt(squared.clip(min=0) / left.shape[1]))


def squares(image: Image, side_px: int) -> Iterator[Image]:
    """Yields squares that cover an image, including its far edges."""
    stride = max(side_px // PLACES_A_SIDE, 1)
    rows, cols = (_starts(length, side_px, stride) for length in image.shape[:2])
    return (image[row : row + side_px, col : col + side_px] for row in rows for col in cols)


def ways_of(image: Image, side_px: int, count: int) -> list[Thumbs]:
    """Thumbnails, in all eight orientations, of evenly spread squares of an image, (8, D) each."""
    parts = list(squares(image, side_px))
    chosen = np.linspace(0, len(parts) - 1, min(count, len(parts))).round().astype(int)
    return [turned(parts[number]) for number in chosen]


def _small(image: Image) -> NDArray[np.float32]:
    return resize_by_area(image.transpose(2, 0, 1).astype(np.float32), (THUMB_PX, THUMB_PX)).transpose(1, 2, 0)


def _starts(length: int, side_px: int, stride: int) -> list[int]:
    last = max(length - side_px, 0)
    return sorted({*range(0, last + 1, stride), last})
