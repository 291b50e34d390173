"""Resizing by area, exact at any ratio."""

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import MaskError
from maskcond.masks.arrays import Channels


def resize_by_area(channels: NDArray[np.floating], size_px: tuple[int, int]) -> Channels:
    """Resizes channels: each new pixel is the mean of the area that it covers.

    Args:
        channels: Channels, (C, H, W).
        size_px: New size (height, width), px, smaller or larger.

    Returns:
        (C, height, width) float32.

    Raises:
        MaskError: A size is not positive.
    """
    if min(*size_px, *channels.shape[1:]) < 1:
        raise MaskError(f"wanted sizes of at least 1 px, got {channels.shape[1:]} to become {tuple(size_px)}")
    down, across = (_shares(length, wanted) for length, wanted in zip(channels.shape[1:], size_px, strict=True))
    return np.asarray(np.matmul(down, np.matmul(channels.astype(np.float32), across.T)))


def _shares(length: int, wanted: int) -> NDArray[np.float32]:
    """The share of each new pixel that lies in each old one, (wanted, length); every row sums to 1."""
    new = np.arange(wanted + 1)[:, None] * (length / wanted)
    old = np.arange(length + 1)[None, :]
    overlap = np.minimum(new[1:], old[:, 1:]) - np.maximum(new[:-1], old[:, :-1])
    return np.asarray(overlap.clip(min=0) * (wanted / length), np.float32)
