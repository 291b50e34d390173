"""Distances of sampled images to training images and to one another, in any of the eight orientations.

Images are compared as thumbnails of 12 x 12 px, by the nearest of the eight ways to flip and rotate one. The limit of a
copy follows from the real images: a small share of the crops of one image are that near to other images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.pairs.repeats import block_hashes, find_repeats
from maskcond.enrichment.pairs.thumbnails import ImageParts, distances, squares, thumbs, turned
from maskcond.masks.arrays import Image

EQUAL = 0.01
"""Distance of equal crops but for rounding, grey levels; such crops, for example of bare glass, are not measured."""


@dataclass(frozen=True)
class Nearest:
    """The training image nearest to a sampled one, and its distance: root mean square, in grey levels of 255."""

    name: str
    distance: float


def part_thumbs(training: Iterable[tuple[str, Image]], side_px: int) -> list[ImageParts]:
    """Makes the thumbnails of squares that cover training images."""
    return [
        ImageParts(name, side_px, thumbs(list(squares(image, side_px))), block_hashes(image))
        for name, image in training
    ]


def find_nearest(images: Sequence[Image], training: Sequence[ImageParts]) -> list[Nearest]:
    """Finds the nearest part of a training image to each of some images.

    Args:
        images: All of one size.
        training: Result of `part_thumbs`, for that size.
    """
    # the few sampled images are turned, rather than every part of the training images
    ways = np.concatenate([turned(image) for image in images])
    best, names = np.full(len(images), np.inf), [""] * len(images)
    for parts in training:
        nearest = distances(ways, parts.thumbs).min(axis=1).reshape(len(images), 8).min(axis=1)
        for number in np.flatnonzero(nearest < best):
            best[number], names[number] = nearest[number], parts.name
    return [Nearest(name, float(distance)) for name, distance in zip(names, best, strict=True)]


def copy_limit(
    images: Sequence[tuple[str, Image]],
    training: Sequence[ImageParts],
    side_px: int,
    *,
    share: float,
    crops: int,
    generator: np.random.Generator,
    repeats: Sequence[set[int]] | None = None,
) -> float | None:
    """A quantile of the distances of random crops of real images to the nearest part of another image.

    Training images that show the same pixels as an image do not count as other images.

    Args:
        images: Names and real images.
        training: Result of `part_thumbs`: of these images first, in order, then of further ones.
        side_px: Side of the crops, px.
        share: Quantile, in [0, 1].
        crops: Number of crops.
        generator: Random generator of the crops' positions.
        repeats: Result of `find_repeats` for these images; None: computed here.

    Returns:
        The distance, grey levels; None if there is nothing to compare with, as for a single training image.
    """
    if len(training) < 2:
        return None
    repeats = find_repeats([image for _, image in images], training) if repeats is None else repeats
    distances: list[float] = []
    for (_, image), same in zip(images, repeats, strict=True):
        parts = [random_crop(image, side_px, generator) for _ in range(-(-crops // len(images)))]
        others = [other for number, other in enumerate(training) if number not in same]
        distances += [nearest.distance for nearest in find_nearest(parts, others)]
    distances = [distance for distance in distances if EQUAL < distance < np.inf]
    return float(np.quantile(distances, share, method="lower")) if distances else None


def random_crop(image: Image, side_px: int, generator: np.random.Generator) -> Image:
    """Cuts a random square out of an image or a mask.

    Raises:
        EnrichmentError: The image is smaller than the square.
    """
    height, width = image.shape[:2]
    if min(height, width) < side_px:
        raise EnrichmentError(f"a training image of {width} x {height} px is smaller than the samples, {side_px} px")
    row, col = generator.integers(height - side_px + 1), generator.integers(width - side_px + 1)
    return image[row : row + side_px, col : col + side_px]
