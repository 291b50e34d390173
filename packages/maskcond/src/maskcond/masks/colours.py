"""Colours as absorbance, -log of the transmitted light, which is proportional to the amount of stain."""

import math

import numpy as np
from numpy.typing import NDArray

from maskcond.masks.arrays import Image, check_image

LIGHT: NDArray[np.float64] = (np.arange(256) + 1) / 256
"""Transmitted light of each value of a pixel, in (0, 1]; 255 is white glass, which absorbs nothing."""
COLOUR_STATISTICS = ("red_mean", "red_std", "green_mean", "green_std", "blue_mean", "blue_std")
"""The names of `colour_statistics`."""


def colour_statistics(image: Image) -> dict[str, float]:
    """Measures the style of an image's stain: mean and standard deviation of the absorbance of each colour.

    As conditions of a cascade that was trained with them (such as `maskcond.KUMAR_COLOURS`), those of a reference image
    let masks be sampled in its style. Absorbance is -ln((value + 1) / 256), between 0 for white and 5.55 for black.

    Args:
        image: (H, W, 3) uint8 RGB; all pixels count, so leave out glass.

    Returns:
        The numbers by the names `COLOUR_STATISTICS`.

    Raises:
        MaskError: The image is no such array, or has no pixel.
    """
    check_image(image)
    numbers: list[float] = []
    for channel in range(3):
        shares = np.bincount(image[..., channel].ravel(), minlength=256) / (image.size // 3)
        mean = -float(shares @ np.log(LIGHT))
        numbers += [mean, math.sqrt(shares @ (np.log(LIGHT) + mean) ** 2)]
    return dict(zip(COLOUR_STATISTICS, numbers, strict=True))


def shift_colour(image: Image, change: float, generator: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """Multiplies the absorbance of each colour by a random factor.

    Args:
        image: (H, W, 3) uint8 RGB.
        change: Largest relative change; 0 changes nothing and takes no random number.
        generator: Generator of the factors.

    Returns:
        The new image, and the factors of red, green and blue.
    """
    if not change:
        return image, np.ones(3)
    factors = 1 + generator.uniform(-change, change, 3)
    table = np.rint(256 * LIGHT[:, None] ** factors - 1).clip(0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1), factors
