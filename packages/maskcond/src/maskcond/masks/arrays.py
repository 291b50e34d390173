"""Types of the arrays of images and masks, and their checks."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import MaskError

Numbers: TypeAlias = NDArray[Any]
"""(H, W) of integers from 0 up of any type, or of booleans."""
Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Labels: TypeAlias = NDArray[np.uint8]
"""(H, W) uint8: 0 is background, n the n-th class."""
Instances: TypeAlias = NDArray[np.int32]
"""(H, W) int32: 0 is background, objects are numbered from 1 up."""
Channels: TypeAlias = NDArray[np.float32]
"""(C, H, W) float32 in [0, 1]: the share of each class in each pixel."""


def check_numbers(mask: Numbers, what: str = "mask") -> None:
    """Checks that an array is (H, W) of whole numbers from 0 up; booleans count as 1 and 0.

    Raises:
        MaskError: It is not.
    """
    if mask.ndim != 2:
        raise MaskError(f"wanted a {what} of shape (H, W), got {mask.shape}")
    if mask.dtype.kind not in "bui":
        raise MaskError(f"wanted a {what} of whole numbers, got {mask.dtype}")
    if mask.dtype.kind == "i" and mask.size and mask.min() < 0:
        raise MaskError(f"wanted a {what} of numbers from 0 up, got {mask.min()}")


def check_image(image: NDArray[np.generic]) -> None:
    """Checks that an array is an RGB picture.

    Raises:
        MaskError: It is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise MaskError(f"wanted an image of shape (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
