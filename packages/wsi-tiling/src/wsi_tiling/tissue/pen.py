"""Ink of marker pens, distinguished from stained tissue by how it darkens red, green and blue.

Haematoxylin and eosin both take away more green than anything else (Ruifrok and Johnston 2001: optical densities of
0.65, 0.70, 0.29 and 0.07, 0.99, 0.11 in red, green, blue). Blue and green ink take away more red than green. Red ink
takes away green and blue nearly alike and hardly any red. Black ink takes away all three alike, and much of it. A few
pixels of tissue look like that as well, red blood cells above all, so ink counts only where there is much of it
together: a stroke is wider than a cell. Around such a place its faded rim is ink, too, and so is its core: where ink is
thick, the channel that it spares darkens as well, so that red ink turns dark brown and blue ink almost black.

Densities are measured against the slide's own glass. Violet and magenta ink have the colours of the stains: they pass
for tissue. Tissue under light blue ink passes, too.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_tiling.glass import DEFAULT_BACKGROUND
from wsi_tiling.region import MAX_BAND_PX, Colour, Image

Flags = NDArray[np.uint8]
"""(H, W), each pixel a sum of the numbers below."""

_COOL, _WARM, _COOL_RIM, _WARM_RIM = 2, 4, 8, 16
INK = _COOL | _WARM

_STROKE_L0 = 48
_STROKE_SHARE = 0.4
_COOL_RIM_L0, _WARM_RIM_L0 = 128, 512
PEN_REACH_L0 = _WARM_RIM_L0 + _STROKE_L0
"""How far from a pixel, in level-0 pixels, there may be ink that makes it one of a pen's."""


def ink_flags(image: Image, glass: Colour = DEFAULT_BACKGROUND) -> Flags:
    """Marks the pixels of an image that have the colours of ink: cool, warm, and the rims of both.

    Black ink goes with the cool colours, the dark core of red ink with the warm ones. The limits leave room: where a
    stroke of 48 px would lie in the 30 KUMAR images, at most 15 % of the pixels are cool and 38 % warm, against 100 %
    under the pens of real tiles. The cores have wider limits in the rims, which count beside ink only.

    Args:
        image: (H, W, 3) uint8.
        glass: Colour of bare glass.
    """
    levels = np.arange(256, dtype=np.float32) + 1
    red, green, blue = (
        np.log10(np.float32(white + 1) / levels).clip(0)[image[..., channel]] for channel, white in enumerate(glass)
    )
    least, odd = np.minimum(np.minimum(red, blue), green), np.minimum(red, blue)
    warm = blue > 0.7 * green
    warm_core = (blue > 0.75 * green) & (((green > 0.7) & (red > 0.3 * green)) | (green > 1.0))
    marks = [
        (_COOL, (red > 1.1 * green + 0.05) | ((least > 0.55) & (odd > 0.75 * green))),
        (_WARM, ((green > 0.2) & (red < 0.15 * green) & warm) | warm_core),
        (
            _COOL_RIM,
            (red > 1.05 * green + 0.01)
            | ((least > 0.3) & (odd > 0.75 * green))
            | ((green > 1.1) & (red > 0.95 * green)),
        ),
        (
            _WARM_RIM,
            (green > 0.012) & warm & ((red < 0.28 * green) | (green > 0.3) | (blue > 0.78 * green)),
        ),
    ]
    flags = np.zeros(image.shape[:2], np.uint8)
    for number, mark in marks:
        flags[mark] |= number
    return flags


def pen_mask(flags: Flags, scale_l0: float) -> NDArray[np.bool_]:
    """Marks pen strokes and their rims, (H, W) bool, in bands of bounded size.

    Args:
        flags: What `ink_flags` found.
        scale_l0: Level-0 pixels a pixel.
    """
    pen = np.zeros(flags.shape, np.bool_)
    margin = int(PEN_REACH_L0 / scale_l0) + 4  # in pixels; what lies further away has no say
    height = max(MAX_BAND_PX // 8 // flags.shape[1], 2 * margin)
    for top in range(0, len(flags), height):
        first, stop = max(0, top - margin), min(len(flags), top + height + margin)
        band = _pen_band(flags[first:stop], scale_l0)
        pen[top : top + height] = band[top - first : top - first + height]
    return pen


def stroke_px(scale_l0: float) -> int:
    """Returns the side of the square in which ink makes a stroke, in pixels of so many level-0 pixels; odd."""
    return max(3, int(_STROKE_L0 / scale_l0) // 2 * 2 + 1)


def unmarked(flags: Flags, scale_l0: float) -> NDArray[np.bool_]:
    """Marks pixels, (H, W) bool, that are no pen's, whatever lies further away than half of `stroke_px`.

    They have no colour of ink or of its rims, and do not lie in a stroke. Others may be no pen's either.

    Args:
        flags: What `ink_flags` found.
        scale_l0: Level-0 pixels a pixel.
    """
    free: NDArray[np.bool_] = flags == 0
    for ink in (_COOL, _WARM):
        stroke = _strokes(flags, ink, scale_l0)
        if stroke is not None:
            free &= ~stroke
    return free


def _strokes(flags: Flags, ink: int, scale_l0: float) -> NDArray[np.bool_] | None:
    """Marks where there is much of an ink together; None if nowhere."""
    inked = (flags & ink > 0).view(np.uint8)
    if not inked.any():
        return None
    share = ndimage.uniform_filter(inked * np.uint8(255), stroke_px(scale_l0), mode="nearest")
    stroke: NDArray[np.bool_] = share > _STROKE_SHARE * 255
    return stroke if stroke.any() else None


def _pen_band(flags: Flags, scale_l0: float) -> NDArray[np.bool_]:
    pen = np.zeros(flags.shape, np.bool_)
    for ink, rim, rim_l0 in ((_COOL, _COOL_RIM, _COOL_RIM_L0), (_WARM, _WARM_RIM, _WARM_RIM_L0)):
        stroke = _strokes(flags, ink, scale_l0)
        if stroke is None:
            continue
        near = ndimage.maximum_filter(stroke, 2 * max(1, round(rim_l0 / scale_l0)) + 1, mode="nearest")
        pen |= stroke | (near & (flags & (ink | rim) > 0))
    return pen
