"""Figures that tell how good a generated slide is."""

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
    grey = image.astype(np.float32).mean(axis=2)
    tissue = grey[:, 1:] < TISSUE_BELOW
    if not tissue.any():
        raise ValueError("no tissue in the picture: every grey value is 200 or more")
    return float(np.abs(np.diff(grey, axis=1))[tissue].mean())
