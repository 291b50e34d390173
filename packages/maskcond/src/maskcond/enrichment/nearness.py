"""How near sampled images are to training images and to one another, whatever way round they are turned.

Images are compared as thumbnails of 12 x 12 px: the nearest of the eight ways to flip and turn one. What counts as near
is told by the real images themselves: the distance that a small share of crops of one image have to those of others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskcond.area import resize_by_area
from maskcond.arrays import Image
from maskcond.enrichment.errors import EnrichmentError

THUMB_PX = 12
PLACES_A_SIDE = 4
"""Crops to compare with start at every quarter of a crop's side."""

Thumbs = NDArray[np.float32]
"""(N, 12 * 12 * 3), in grey levels."""


@dataclass(frozen=True)
class Nearest:
    """The training image nearest to a sampled one, and its distance: root mean square, in grey levels of 255."""

    name: str
    distance: float


def thumbs(images: Sequence[Image]) -> Thumbs:
    """Thumbnails of square images."""
    return np.stack([_small(image).reshape(-1) for image in images])


def turned(image: Image) -> Thumbs:
    """The thumbnail of an image in all eight ways, (8, D)."""
    small = _small(image)
    ways = [np.rot90(side, quarter) for side in (small, small[:, ::-1]) for quarter in range(4)]
    return np.stack([way.reshape(-1) for way in ways])


def distances(some: Thumbs, others: Thumbs) -> NDArray[np.float64]:
    """Root mean square difference of each of some to each of others, (N, M), in grey levels."""
    left, right = some.astype(np.float64), others.astype(np.float64)
    squared = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.asarray(np.sqrt(squared.clip(min=0) / left.shape[1]))


def part_thumbs(training: Iterable[tuple[str, Image]], side_px: int) -> list[tuple[str, Thumbs]]:
    """Thumbnails of squares all over training images, by the images' names."""
    return [(name, thumbs(list(_parts(image, side_px)))) for name, image in training]


def find_nearest(images: Sequence[Image], training: Sequence[tuple[str, Thumbs]]) -> list[Nearest]:
    """Finds the nearest part of a training image to each of some images.

    Args:
        images: All of one size.
        training: Of `part_thumbs`, for that size.
    """
    # the sampled image is turned, which is a few, rather than every part of the training images
    ways = np.concatenate([turned(image) for image in images])
    best, names = np.full(len(images), np.inf), [""] * len(images)
    for name, parts in training:
        own = distances(ways, parts).min(axis=1).reshape(len(images), 8).min(axis=1)
        for number in np.flatnonzero(own < best):
            best[number], names[number] = own[number], name
    return [Nearest(name, float(distance)) for name, distance in zip(names, best, strict=True)]


def copy_limit(
    images: Sequence[tuple[str, Image]],
    training: Sequence[tuple[str, Thumbs]],
    side_px: int,
    *,
    share: float,
    crops: int,
    generator: np.random.Generator,
) -> float | None:
    """The distance that a share of random crops of real images have to the nearest part of another one, at most.

    Args:
        images: Names and real images.
        training: Of `part_thumbs`, of these images, and of more if there are any.
        side_px: Side of the crops.
        share: The share.
        crops: How many.
        generator: Of the draws.

    Returns:
        The distance; None for a single training image, with which nothing can be compared.
    """
    if len(training) < 2:
        return None
    found = []
    for name, image in images:
        own = [random_crop(image, side_px, generator) for _ in range(-(-crops // len(images)))]
        found += [each.distance for each in find_nearest(own, [each for each in training if each[0] != name])]
    return float(np.quantile(found, share, method="lower"))


def random_crop(image: Image, side_px: int, generator: np.random.Generator) -> Image:
    """Cuts a square out of an image, or of a mask, at random.

    Raises:
        EnrichmentError: The image is smaller.
    """
    height, width = image.shape[:2]
    if min(height, width) < side_px:
        raise EnrichmentError(f"a training image of {width} x {height} px is smaller than the samples, {side_px} px")
    row, col = generator.integers(height - side_px + 1), generator.integers(width - side_px + 1)
    return image[row : row + side_px, col : col + side_px]


def _small(image: Image) -> NDArray[np.float32]:
    return resize_by_area(image.transpose(2, 0, 1).astype(np.float32), (THUMB_PX, THUMB_PX)).transpose(1, 2, 0)


def _parts(image: Image, side_px: int) -> Iterator[Image]:
    """Squares all over an image, those at its far edges included."""
    stride = max(side_px // PLACES_A_SIDE, 1)
    rows, cols = (_starts(length, side_px, stride) for length in image.shape[:2])
    return (image[row : row + side_px, col : col + side_px] for row in rows for col in cols)


def _starts(length: int, side_px: int, stride: int) -> list[int]:
    last = max(length - side_px, 0)
    return sorted({*range(0, last + 1, stride), last})
