"""Checks of features before anything is computed from them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfid.errors import FeatureError

LARGEST = float(np.finfo(np.float32).max)
"""Larger features count as infinite. Squares and kernels of smaller ones do not overflow in float64."""


def checked_features(features: NDArray[Any], name: str = "features", least: int = 1) -> NDArray[np.float64]:
    """Checks features, and returns them as float64.

    Args:
        features: One row an image, (N, D), of any kind of real number.
        name: Their name in the error.
        least: Fewest images allowed.

    Raises:
        FeatureError: They are not a table of numbers, not finite in single precision (the error counts them), or too
            few.
    """
    array = np.asarray(features)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":
        raise FeatureError(f"{name}: wanted numbers, one row an image, not {array.dtype} of shape {array.shape}")
    if len(array) < least:
        raise FeatureError(f"{name}: {len(array)} images, wanted {least} or more")
    if array.dtype.kind == "f" and array.dtype.itemsize < 4:
        array = array.astype(np.float32)  # half precision has no number as large as the limit: it would be infinite too
    finite = np.abs(array) <= LARGEST
    if not finite.all():
        rows = int((~finite).any(1).sum())
        count = int(finite.size - finite.sum())
        raise FeatureError(f"{name}: {count:,} values that are not finite, in {rows:,} of {len(array):,} images")
    return array.astype(np.float64, copy=False)


def checked_pair(
    real: NDArray[Any], fake: NDArray[Any], least: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Checks the features of both sides, and returns them as float64.

    Args:
        real: Features of the real images, (N, D).
        fake: Features of the generated ones, (M, D).
        least: Fewest images allowed on each side.

    Raises:
        FeatureError: One side is damaged or too small, or the two have different dimensions.
    """
    left, right = checked_features(real, "real features", least), checked_features(fake, "fake features", least)
    check_dimensions(left.shape[1], right.shape[1])
    return left, right


def check_dimensions(real: int, fake: int) -> None:
    """Raises a FeatureError if the two sides have different dimensions: they cannot be of one extractor."""
    if real != fake:
        raise FeatureError(f"real features have {real} dimensions, fake ones {fake}: they are of different extractors")
