"""How much of a tile is tissue."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.pen import Flags
from wsi_tiling.slide import Slide
from wsi_tiling.tissue import TissueRule, classify, clean, colour_mask

PX_PER_TILE = 32
"""Tissue is looked for in pictures in which a tile has this many pixels a side."""
_TILES_PER_BAND = 2**12


def tissue_shares(
    slide: Slide, xs: Sequence[int], ys: Sequence[int], field_l0: float, rule: TissueRule
) -> NDArray[np.float64]:
    """Measures the share of tissue of tiles, at 32 px a tile, without the rule's erosion and dilation.

    By a rule that goes by colour alone, row by row of tiles. By any other, pen marks, specks and holes are looked for
    in all that the tiles cover, as one: that takes a few bytes of memory for each of these pixels.

    Args:
        slide: The slide.
        xs: Left edges of the tiles, ascending, level-0 pixels.
        ys: Upper edges, ascending.
        field_l0: Side of a tile.
        rule: What counts as tissue, of the kind 'limits'.

    Returns:
        One share for each y and x, in [0, 1], (len(ys), len(xs)).

    Raises:
        SlideError: The slide cannot be read.
    """
    if rule.accepts_everything:
        return np.ones((len(ys), len(xs)))
    if rule.goes_by_colour_alone:
        return np.array([_row_of_shares(slide, xs, y, field_l0, rule) for y in ys])
    mask = slide_mask(slide, (xs[0], ys[0]), (xs[-1] - xs[0], ys[-1] - ys[0]), field_l0, rule)
    return np.array([[share(mask, (x - xs[0], y - ys[0]), field_l0) for x in xs] for y in ys])


def slide_mask(
    slide: Slide, xy_l0: tuple[int, int], reach_l0: tuple[int, int], field_l0: float, rule: TissueRule
) -> NDArray[np.bool_]:
    """Finds the tissue of a part of a slide at 32 px a tile.

    Args:
        slide: The slide.
        xy_l0: Upper left corner of the first tile.
        reach_l0: How much further right and down the last tile lies.
        field_l0: Side of a tile.
        rule: What counts as tissue, of the kind 'limits'.

    Returns:
        (H, W) bool; see `share` for a tile's part of it.

    Raises:
        SlideError: The slide cannot be read.
    """
    scale = field_l0 / PX_PER_TILE
    width, height = (round(length / scale) + PX_PER_TILE for length in reach_l0)
    flags: Flags = np.empty((height, width), np.uint8)
    rows = PX_PER_TILE * max(1, _TILES_PER_BAND * PX_PER_TILE // width)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        corner = (xy_l0[0], xy_l0[1] + top * scale)
        band = slide.read(corner, (width * scale, count * scale), (width, count))
        flags[top : top + count] = classify(band, rule, slide.glass)
    return clean(flags, rule, scale)


def share(mask: NDArray[np.bool_], xy_l0: tuple[int, int], field_l0: float) -> float:
    """The share of tissue of the tile whose corner lies at `xy_l0` from that of a mask by `slide_mask`."""
    column, row = (round(place * PX_PER_TILE / field_l0) for place in xy_l0)
    return float(mask[row : row + PX_PER_TILE, column : column + PX_PER_TILE].mean())


def _row_of_shares(slide: Slide, xs: Sequence[int], y: int, field_l0: float, rule: TissueRule) -> list[float]:
    """Shares of tissue of the tiles of one row, from one strip."""
    scale = field_l0 / PX_PER_TILE
    columns = [round((x - xs[0]) / scale) for x in xs]
    width = columns[-1] + PX_PER_TILE
    strip = slide.read((xs[0], y), (width * scale, field_l0), (width, PX_PER_TILE))
    mask = colour_mask(strip, rule, slide.glass)
    return [float(mask[:, column : column + PX_PER_TILE].mean()) for column in columns]
