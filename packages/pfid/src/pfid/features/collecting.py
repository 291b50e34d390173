"""Features of whole images."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pfid.errors import FeatureError
from pfid.features.extractors import Extractor
from pfid.features.statistics import FeatureStatistics
from pfid.images.sources import Image, Images
from pfid.progress import WorkProgress, long_work


@dataclass(frozen=True, eq=False)
class Features:
    """Features of images, with their provenance.

    Attributes:
        values: One row an image, (N, D) float32.
        names: Names of the images, (N,).
        extractor: Name of the extractor.
        resize: How the extractor resized the images.
        notes: Notes on the images, a line each.
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
        numbers: Indices of the images, (B,).
        values: One row an image, (B, D) float32.
    """

    numbers: tuple[int, ...]
    values: NDArray[np.float32]


def feature_batches(images: Images, extractor: Extractor, *, batch_size: int = 32) -> Iterator[FeatureBatch]:
    """Yields the features of whole images in their order; no more than a batch of images is held.

    Args:
        images: The images. A batch ends early where the next image has another size.
        extractor: The feature extractor.
        batch_size: Most images in a batch.

    Raises:
        ImageError: Images are unreadable and not to be skipped; raised at the end, and names all of them.
    """
    numbers: list[int] = []
    pixels: list[Image] = []
    for number, image in images.whole():
        if pixels and (len(pixels) == batch_size or image.shape != pixels[0].shape):
            yield FeatureBatch(tuple(numbers), extractor(np.stack(pixels)))
            numbers, pixels = [], []
        numbers.append(number)
        pixels.append(image)
    if pixels:
        yield FeatureBatch(tuple(numbers), extractor(np.stack(pixels)))


@long_work
def extract_features(
    images: Images, extractor: Extractor, *, batch_size: int = 32
) -> Generator[WorkProgress, None, Features]:
    """Computes the features of whole images.

    Args:
        images: The images.
        extractor: The feature extractor.
        batch_size: Most images that the extractor gets at a time.

    Returns:
        `Work` whose result are the `Features`.

    Raises:
        ImageError: Images are unreadable and not to be skipped.
        FeatureError: There are no images.
    """
    batches: list[FeatureBatch] = []
    names: list[str] = []
    for batch in feature_batches(images, extractor, batch_size=batch_size):
        batches.append(batch)
        names += [images.names[number] for number in batch.numbers]
        yield WorkProgress("images", len(names), len(images))
    if not batches:
        raise FeatureError("no features: there are no images")
    values = np.concatenate([batch.values for batch in batches])
    return Features(values, tuple(names), extractor.name, extractor.resize, images.notes_after(len(names)))
