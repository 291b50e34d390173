"""Features of whole images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pfid.errors import FeatureError
from pfid.features.extractors import Extractor
from pfid.features.statistics import FeatureStatistics
from pfid.images.sources import Image, Images


@dataclass(frozen=True, eq=False)
class Features:
    """Features of images, and what they come from.

    Attributes:
        values: One row an image, (N, D) float32.
        names: What the images are called, (N,).
        extractor: Name of the extractor.
        resize: How it resized the images.
        notes: What is worth knowing of the images, a line each.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    extractor: str
    resize: str
    notes: tuple[str, ...] = ()

    def statistics(self) -> FeatureStatistics:
        """Returns their mean and covariance.

        Raises:
            FeatureError: Fewer than 2 images, or features that are not finite.
        """
        return FeatureStatistics.of(self.values, extractor=self.extractor, resize=self.resize)


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Features of a few images.

    Attributes:
        numbers: Which images they are.
        values: One row an image, (B, D) float32.
    """

    numbers: tuple[int, ...]
    values: NDArray[np.float32]


def feature_batches(images: Images, extractor: Extractor, *, batch: int = 32) -> Iterator[FeatureBatch]:
    """Yields the features of whole images, batch by batch, in their order; no more than a batch is held.

    Args:
        images: The images. A batch ends early where the next image has another size.
        extractor: What gives the features.
        batch: Most images in a batch.

    Raises:
        ImageError: Images are unreadable and not to be skipped; told at the end, of all of them.
    """
    numbers: list[int] = []
    pixels: list[Image] = []
    for number, image in images.whole():
        if pixels and (len(pixels) == batch or image.shape != pixels[0].shape):
            yield FeatureBatch(tuple(numbers), extractor(np.stack(pixels)))
            numbers, pixels = [], []
        numbers.append(number)
        pixels.append(image)
    if pixels:
        yield FeatureBatch(tuple(numbers), extractor(np.stack(pixels)))


def extract_features(images: Images, extractor: Extractor, *, batch: int = 32) -> Features:
    """Returns the features of whole images.

    Args:
        images: The images.
        extractor: What gives the features.
        batch: Most images to give it at a time.

    Raises:
        ImageError: Images are unreadable and not to be skipped.
    """
    return collect_features(images, extractor, feature_batches(images, extractor, batch=batch))


def collect_features(images: Images, extractor: Extractor, batches: Iterator[FeatureBatch]) -> Features:
    """Puts batches of `feature_batches` together, for who wants to see them go by.

    Raises:
        FeatureError: There are no batches.
    """
    found = list(batches)
    if not found:
        raise FeatureError("no features: there are no images")
    names = tuple(images.names[number] for part in found for number in part.numbers)
    values = np.concatenate([part.values for part in found])
    return Features(values, names, extractor.name, extractor.resize, notes_on(images, len(names)))


def notes_on(images: Images, measured: int) -> tuple[str, ...]:
    """Returns the notes on images of which so many could be measured."""
    left_out = len(images) - measured
    return images.notes + ((f"{left_out} of {len(images)} images left out as damaged",) if left_out else ())
