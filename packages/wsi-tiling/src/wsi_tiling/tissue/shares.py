"""The share of tissue of tiles."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.reading.slide import Slide
from wsi_tiling.tissue.pen import PEN_REACH_L0, Flags
from wsi_tiling.tissue.rule import TissueRule, classify, clean, colour_mask

PX_PER_TILE = 32
"""Tissue is looked for in images in which a tile has this many pixels a side."""
_TILES_PER_BAND = 2**12
_MARGINS_PER_BAND = 8


def tissue_shares(
    slide: Slide, xs: Sequence[int], ys: Sequence[int], field_l0: float, rule: TissueRule
) -> NDArray[np.float64]:
    """Measures the share of tissue of tiles, at 32 px a tile, without the rule's erosion and dilation.

    By a rule that goes by colour alone, row by row of tiles; by one that rejects pens besides, in bands of rows, with
    as much around them as pens reach. By any other, specks and holes are looked for in all that the tiles cover, as
    one: that takes a few bytes of memory for each of these pixels.

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
    columns, rows = ([_pixel(begin - begins[0], field_l0) for begin in begins] for begins in (xs, ys))
    size = (columns[-1] + PX_PER_TILE, rows[-1] + PX_PER_TILE)
    margin = size[1] if rule.looks_at_areas else int(PEN_REACH_L0 * PX_PER_TILE / field_l0) + 2
    shares = []
    for first, last in _bands(rows, _MARGINS_PER_BAND * margin):
        top, bottom = max(0, rows[first] - margin), min(size[1], rows[last] + PX_PER_TILE + margin)
        mask = _mask_rows(slide, (xs[0], ys[0]), size[0], (top, bottom), field_l0, rule)
        for row in rows[first : last + 1]:
            strip = mask[row - top : row - top + PX_PER_TILE]
            shares.append([float(strip[:, column : column + PX_PER_TILE].mean()) for column in columns])
    return np.array(shares)


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
    width, height = (_pixel(length, field_l0) + PX_PER_TILE for length in reach_l0)
    return _mask_rows(slide, xy_l0, width, (0, height), field_l0, rule)


def share(mask: NDArray[np.bool_], xy_l0: tuple[int, int], field_l0: float) -> float:
    """The share of tissue of the tile whose corner lies at `xy_l0` from that of a mask by `slide_mask`."""
    column, row = (_pixel(place, field_l0) for place in xy_l0)
    return float(mask[row : row + PX_PER_TILE, column : column + PX_PER_TILE].mean())


def _pixel(distance_l0: int, field_l0: float) -> int:
    """A distance in pixels of the image, to the nearest."""
    return round(distance_l0 * PX_PER_TILE / field_l0)


def _bands(rows: Sequence[int], least_px: int) -> Iterator[tuple[int, int]]:
    """Yields the first and the last of each run of tile rows that is so many pixels high, or all that are left."""
    first = 0
    for number, row in enumerate(rows):
        if row - rows[first] >= least_px or number == len(rows) - 1:
            yield first, number
            first = number + 1


def _mask_rows(
    slide: Slide, xy_l0: tuple[int, int], width: int, rows: tuple[int, int], field_l0: float, rule: TissueRule
) -> NDArray[np.bool_]:
    """The tissue in some rows of the image, `width` pixels wide, whose first pixel lies at `xy_l0`."""
    scale, (first, stop) = field_l0 / PX_PER_TILE, rows
    flags: Flags = np.empty((stop - first, width), np.uint8)
    step = PX_PER_TILE * max(1, _TILES_PER_BAND * PX_PER_TILE // width)
    for top in range(first, stop, step):
        count = min(step, stop - top)
        corner = (xy_l0[0], xy_l0[1] + top * scale)
        band = slide.read(corner, (width * scale, count * scale), (width, count))
        flags[top - first : top - first + count] = classify(band, rule, slide.glass)
    return clean(flags, rule, scale)


def _row_of_shares(slide: Slide, xs: Sequence[int], y: int, field_l0: float, rule: TissueRule) -> list[float]:
    """Shares of tissue of the tiles of one row, from one strip."""
    scale = field_l0 / PX_PER_TILE
    columns = [round((x - xs[0]) / scale) for x in xs]
    width = columns[-1] + PX_PER_TILE
    strip = slide.read((xs[0], y), (width * scale, field_l0), (width, PX_PER_TILE))
    mask = colour_mask(strip, rule, slide.glass)
    return [float(mask[:, column : column + PX_PER_TILE].mean()) for column in columns]
