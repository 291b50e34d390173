"""Figures that tell how good a generated slide is."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

TISSUE_BELOW = 200


def sharpness(image: NDArray[np.uint8]) -> float:
    """Returns the mean absolute difference of horizontal neighbours inside tissue, in grey values.

    To be read as a share of the same figure of real slides at the same magnification. Tissue is where the grey value,
    the mean of the three colours, is under 200 of 255.

    Args:
        image: Picture, (H, W, 3) uint8, at full magnification.

    Raises:
        ValueError: There is no tissue in the picture.
    """
    steps, tissue = _steps_in_tissue(image)
    return float(steps[tissue].mean())


def seam(image: NDArray[np.uint8], borders_px: Iterable[int]) -> float:
    """Returns the mean step of grey values across columns where patches meet, as a share of that elsewhere in tissue.

    1 is perfect; more is a visible seam, less is blur. For rows, give the picture turned by 90 degrees.

    Args:
        image: Picture, (H, W, 3) uint8.
        borders_px: Columns in (0, W) before which something begins or ends: patches, or their overlaps.

    Raises:
        ValueError: There is no tissue at the borders, or none elsewhere.
    """
    steps, tissue = _steps_in_tissue(image)
    across = np.zeros(steps.shape[1], bool)
    across[[column - 1 for column in borders_px if 0 < column < image.shape[1]]] = True
    if not (tissue[:, across].any() and tissue[:, ~across].any()):
        raise ValueError("no tissue at the borders, or none elsewhere")
    return float(steps[:, across][tissue[:, across]].mean() / steps[:, ~across][tissue[:, ~across]].mean())


def _steps_in_tissue(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns the steps between horizontal neighbours, (H, W - 1), and which of them are in tissue."""
    grey = image.astype(np.float32).mean(axis=2)
    tissue = grey[:, 1:] < TISSUE_BELOW
    if not tissue.any():
        raise ValueError("no tissue in the picture: every grey value is 200 or more")
    return np.abs(np.diff(grey, axis=1)), tissue
