"""How near sampled images are to training images and to one another, whatever way round they are turned.

Images are compared as thumbnails of 12 x 12 px: the nearest of the eight ways to flip and turn one. What counts as near
is told by the real images themselves: the distance that a small share of crops of one image have to those of others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.pairs.repeats import block_hashes, find_repeats
from maskcond.enrichment.pairs.thumbnails import ImageParts, distances, squares, thumbs, turned
from maskcond.masks.arrays import Image

EQUAL = 0.01
"""Grey levels: crops that are nearer than rounding, such as of bare glass, are no measure of how near tissue is."""


@dataclass(frozen=True)
class Nearest:
    """The training image nearest to a sampled one, and its distance: root mean square, in grey levels of 255."""

    name: str
    distance: float


def part_thumbs(training: Iterable[tuple[str, Image]], side_px: int) -> list[ImageParts]:
    """Thumbnails of squares all over training images, by the images' names."""
    return [
        ImageParts(name, side_px, thumbs(list(squares(image, side_px))), block_hashes(image))
        for name, image in training
    ]


def find_nearest(images: Sequence[Image], training: Sequence[ImageParts]) -> list[Nearest]:
    """Finds the nearest part of a training image to each of some images.

    Args:
        images: All of one size.
        training: Of `part_thumbs`, for that size.
    """
    # the sampled image is turned, which is a few, rather than every part of the training images
    ways = np.concatenate([turned(image) for image in images])
    best, names = np.full(len(images), np.inf), [""] * len(images)
    for each in training:
        own = distances(ways, each.thumbs).min(axis=1).reshape(len(images), 8).min(axis=1)
        for number in np.flatnonzero(own < best):
            best[number], names[number] = own[number], each.name
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
    """The distance that a share of random crops of real images have to the nearest part of another one, at most.

    Training images that show the same pixels as an image are not other ones, whatever their names.

    Args:
        images: Names and real images.
        training: Of `part_thumbs`: of these images first, in their order, then of more if there are any.
        side_px: Side of the crops.
        share: The share.
        crops: How many.
        generator: Of the crops' places.
        repeats: Of `find_repeats` for these images, if they are known already.

    Returns:
        The distance; None if there is nothing to compare with, as for a single training image.
    """
    if len(training) < 2:
        return None
    repeats = find_repeats([image for _, image in images], training) if repeats is None else repeats
    distances: list[float] = []
    for (_, image), same in zip(images, repeats, strict=True):
        own = [random_crop(image, side_px, generator) for _ in range(-(-crops // len(images)))]
        others = [each for number, each in enumerate(training) if number not in same]
        distances += [each.distance for each in find_nearest(own, others)]
    distances = [distance for distance in distances if EQUAL < distance < np.inf]
    return float(np.quantile(distances, share, method="lower")) if distances else None


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
