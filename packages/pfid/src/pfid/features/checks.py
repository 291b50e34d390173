"""What features have to be before anything is worked out from them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfid.errors import FeatureError

LARGEST = float(np.finfo(np.float32).max)
"""Larger features count as infinite. In float64, neither squares nor kernels of smaller ones overflow."""


def checked_features(features: NDArray[Any], what: str = "features", least: int = 1) -> NDArray[np.float64]:
    """Returns features as float64, or says what is wrong with them.

    Args:
        features: One row an image, (N, D), of any kind of real number.
        what: What they are called in the error.
        least: How many images it takes.

    Raises:
        FeatureError: They are no table of numbers, are not finite in single precision (it counts how many), or are too
            few.
    """
    found = np.asarray(features)
    if found.ndim != 2 or not found.shape[1] or found.dtype.kind not in "fiu":
        raise FeatureError(f"{what}: wanted numbers, one row an image, not {found.dtype} of shape {found.shape}")
    if len(found) < least:
        raise FeatureError(f"{what}: {len(found)} of the {least} images or more that it takes")
    if found.dtype.kind == "f" and found.dtype.itemsize < 4:
        found = found.astype(np.float32)  # half precision has no number as large as the limit: it would be infinite too
    finite = np.abs(found) <= LARGEST
    if not finite.all():
        rows = int((~finite).any(1).sum())
        count = int(finite.size - finite.sum())
        raise FeatureError(f"{what}: {count:,} values that are not finite, in {rows:,} of {len(found):,} images")
    return found.astype(np.float64, copy=False)


def checked_pair(
    real: NDArray[Any], fake: NDArray[Any], least: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the features of both sides as float64, or says what is wrong with them.

    Args:
        real: Features of the real images, (N, D).
        fake: Features of the generated ones, (M, D).
        least: How many images it takes on each side.

    Raises:
        FeatureError: One side is damaged or too small, or the two have different dimensions.
    """
    left, right = checked_features(real, "real features", least), checked_features(fake, "fake features", least)
    check_dimensions(left.shape[1], right.shape[1])
    return left, right


def check_dimensions(real: int, fake: int) -> None:
    """Raises a FeatureError where the two sides have different dimensions, which no one extractor gives."""
    if real != fake:
        raise FeatureError(f"real features have {real} dimensions, fake ones {fake}: they are of different extractors")
