"""The colour of bare glass: what a slide shows where nothing lies on it, against which stains and inks are judged."""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.region import Colour, Image

DEFAULT_BACKGROUND: Colour = (242, 243, 242)
"""Glass under a scanner's lamp: taken where a slide shows no background of its own."""
_LEAST_BRIGHT, _MOST_COLOUR = 200, 20
_BURNT_OUT = 254
_NEAR, _AROUND = 5, 15
_LEAST_SHARE, _LEAST_PEAK = 0.1, 0.65
_SAMPLE_PX = 2**18


def commonest_glass(pixels: NDArray[np.uint8]) -> Colour | None:
    """The commonest colour, to four grey levels, of bright pixels without much colour.

    Args:
        pixels: (N, 3) RGB.

    Returns:
        The colour; None where less than a hundredth of the pixels are like that.
    """
    low, high = _extremes(pixels)
    glass = pixels[(low >= _LEAST_BRIGHT) & (high - low <= _MOST_COLOUR)]
    return _commonest(glass) if len(glass) >= max(0.01 * len(pixels), 1) else None


def measured_glass(pixels: NDArray[np.uint8]) -> Colour | None:
    """The colour of bare glass, where the pixels show enough of it to be sure.

    Glass has one colour, with little more than a camera's noise; pale tissue of about that colour varies. So of the
    pixels within 15 grey levels of the commonest glassy colour, two thirds have to lie within 5. Burnt-out white may
    be what a scanner fills gaps with: it does not count as glass.

    Args:
        pixels: (N, 3) RGB.

    Returns:
        The colour; None where less than a tenth of the pixels show it, or where it is no narrow peak.
    """
    low, high = _extremes(pixels)
    glass = pixels[(low >= _LEAST_BRIGHT) & (high - low <= _MOST_COLOUR) & (low < _BURNT_OUT)]
    if len(glass) < max(_LEAST_SHARE * len(pixels), 1):
        return None
    colour = _commonest(glass)
    distance = reduce(np.maximum, np.abs(pixels.astype(np.int16) - np.asarray(colour, np.int16)).T)
    near, around = np.count_nonzero(distance <= _NEAR), np.count_nonzero(distance <= _AROUND)
    return colour if near >= max(_LEAST_SHARE * len(pixels), _LEAST_PEAK * around) else None


def glass_of(image: Image) -> Colour:
    """The colour of bare glass in an image, (H, W, 3); the default where it shows none."""
    step = max(1, round((image.shape[0] * image.shape[1] / _SAMPLE_PX) ** 0.5))
    return measured_glass(image[::step, ::step].reshape(-1, 3)) or DEFAULT_BACKGROUND


def is_glassy(colour: Colour) -> bool:
    """Whether a colour may be that of glass: bright, and without much colour."""
    return min(colour) >= _LEAST_BRIGHT and max(colour) - min(colour) <= _MOST_COLOUR


def _extremes(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The least and the greatest channel of each pixel; fast, as along axis 1 it is not."""
    low, high = (reduce(extreme, pixels.T) for extreme in (np.minimum, np.maximum))
    return low, high


def _commonest(pixels: NDArray[np.uint8]) -> Colour:
    bins = pixels.astype(np.int64) // 4 @ np.array([4096, 64, 1])
    values, counts = np.unique(bins, return_counts=True)
    red, green, blue = np.median(pixels[bins == values[counts.argmax()]], axis=0)
    return int(red), int(green), int(blue)
