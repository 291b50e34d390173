"""Masks drawn on images as outlines."""

import numpy as np
from skimage import segmentation

from maskcond.masks.arrays import Image, Numbers

OUTLINE = (250, 220, 40)


def outlined(image: Image, mask: Numbers, colour: tuple[int, int, int] = OUTLINE) -> Image:
    """Draws the outline of each object of a mask, inside it, on a copy of an image.

    Args:
        image: (H, W, 3) uint8.
        mask: Instance map or labels, (H, W).
        colour: Colour of the outlines (red, green, blue).
    """
    result = image.copy()
    edges = segmentation.find_boundaries(mask.astype(np.int32), connectivity=1, mode="inner")
    result[edges] = colour
    return result
