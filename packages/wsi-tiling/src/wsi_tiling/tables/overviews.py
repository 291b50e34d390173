"""Images of slides with their tissue and their tiles, to look at."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from wsi_tiling.checks import check_whole
from wsi_tiling.reading.slide import Slide
from wsi_tiling.region import Colour, Image
from wsi_tiling.tables.table import TileTable
from wsi_tiling.tissue.components import without_small_parts
from wsi_tiling.tissue.rule import TissueRule, resolve_rule, tissue_mask

TISSUE_COLOUR: Colour = (0, 160, 0)
FIELD_COLOURS: tuple[Colour, ...] = ((0, 0, 220), (235, 110, 0), (0, 165, 190), (140, 120, 0), (120, 60, 20))
"""Colours of tiles, the smallest field first; with more fields they begin again."""
_TINT = 0.08
_SOLID_BELOW_PX = 5
_SOLID_TINT = 0.3
_FAINT_BELOW_PX = 24
_FAINT = 0.6
_FEW = 50
_LEAST_OF_FEW_PX = 16
_SPECK_SHARE = 1 / 100


def overview(slide: Slide, table: TileTable, rule: TissueRule, size_px: int) -> Image:
    """Draws a slide with its tissue outlined in green and its tiles tinted and framed, each field in its own colour.

    Of a slide whose canvas is larger than what was scanned, the scanned region is drawn, as `Slide.bounds_l0` has it.
    What does not show at this size is left out: specks and holes in the tissue, the frames of many tiles a few pixels
    wide. Few tiles of that size are framed larger than they are, to be found. Where the tiles have several fields, a
    line below the image gives their colours and numbers.

    Args:
        slide: The slide; read once, into an image of this size.
        table: Tiles, of this slide and others.
        rule: What to outline, as `find_tiles` sees it: not eroded, not dilated. The rule that takes everything
            outlines nothing.
        size_px: Longer side of the image; a slide with fewer pixels is enlarged.

    Returns:
        (H, W, 3) uint8.

    Raises:
        SlideError: The slide cannot be read.
    """
    check_whole("an image of at least 1 px", size_px, least=1)
    left, top, width, height = slide.bounds_l0
    scale = max(width, height) / size_px
    picture = slide.read((left, top), (width, height), (max(1, round(width / scale)), max(1, round(height / scale))))
    line = max(1, round(size_px / 1000))
    tiles = table.frame[table.frame["path"] == str(slide.path)]
    tiles = tiles.assign(x_l0=tiles["x_l0"] - left, y_l0=tiles["y_l0"] - top)
    fields = sorted(tiles["field_l0"].unique())
    drawn = picture.copy()
    if fields:
        _tint(drawn, tiles[tiles["field_l0"] == fields[0]], scale)
    if not rule.accepts_everything:
        outlined = replace(resolve_rule(rule, slide), erode_px=0, dilate_px=0)
        drawn[_outline(tissue_mask(picture, outlined, scale, slide.glass), line)] = TISSUE_COLOUR
    for number, field in enumerate(fields):
        colour = FIELD_COLOURS[number % len(FIELD_COLOURS)]
        _frame(drawn, tiles[tiles["field_l0"] == field], colour, scale, 2 * line if number else line)
    return np.concatenate([drawn, _legend(tiles, drawn.shape[1], size_px)]) if len(fields) > 1 else drawn


def _outline(mask: NDArray[np.bool_], line: int) -> NDArray[np.bool_]:
    """The rim of the tissue in a mask, `line` pixels wide, inside it."""
    speck = (max(mask.shape) * _SPECK_SHARE) ** 2
    mask = ~without_small_parts(~mask, speck, diagonal=False)
    mask = without_small_parts(mask, speck, diagonal=True)
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=line, border_value=1))


def _boxes(tiles: pd.DataFrame, scale: float) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of each tile in the image, (N, 4)."""
    corner = tiles[["x_l0", "y_l0"]].to_numpy(np.float64)
    return np.concatenate([corner, corner + tiles[["field_l0"]].to_numpy()], axis=1) / scale


def _blend(drawn: Image, layer: PilImage.Image, colour: Colour) -> None:
    """Lays a colour on an image, as much of it as the layer (L) says."""
    for top in range(0, len(drawn), 1024):
        share = np.asarray(layer)[top : top + 1024, :, None] / np.float32(255)
        band = drawn[top : top + 1024]
        band[:] = np.rint(band * (1 - share) + np.asarray(colour, np.float32) * share)


def _tint(drawn: Image, tiles: pd.DataFrame, scale: float) -> None:
    layer = PilImage.new("L", (drawn.shape[1], drawn.shape[0]))
    pen = ImageDraw.Draw(layer)
    share = _SOLID_TINT if tiles["field_l0"].iloc[0] / scale < _SOLID_BELOW_PX else _TINT
    for x0, y0, x1, y1 in _boxes(tiles, scale):
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), fill=round(share * 255))
    _blend(drawn, layer, FIELD_COLOURS[0])


def _frame(drawn: Image, tiles: pd.DataFrame, colour: Colour, scale: float, line: int) -> None:
    side_px = tiles["field_l0"].iloc[0] / scale
    few = len(tiles) <= _FEW
    if side_px < _SOLID_BELOW_PX and not few:
        return
    grown = max(0, (_LEAST_OF_FEW_PX - side_px) / 2) if few else 0
    line += grown > 0
    faint = side_px < _FAINT_BELOW_PX and not few
    height, width = drawn.shape[:2]
    layer = PilImage.new("L", (width, height))
    pen = ImageDraw.Draw(layer)
    for x0, y0, x1, y1 in _boxes(tiles, scale):
        # What leaves the slide is drawn along its edge.
        box = (max(x0 - grown, 0), max(y0 - grown, 0), min(x1 + grown, width - 1), min(y1 + grown, height - 1))
        pen.rectangle(box, outline=round(_FAINT * 255) if faint else 255, width=1 if faint else line)
    _blend(drawn, layer, colour)


def _legend(tiles: pd.DataFrame, width: int, size_px: int) -> Image:
    """Colours, fields and numbers of tiles, as many lines as they need."""
    text_px = max(12, size_px // 60)
    font = ImageFont.load_default(size=text_px)
    counts = tiles.groupby("field_l0").size()
    entries = [
        (f"{count} {'tile' if count == 1 else 'tiles'} of {field:g} px", FIELD_COLOURS[number % len(FIELD_COLOURS)])
        for number, (field, count) in enumerate(counts.items())
    ]
    row_px, places, x, y = round(text_px * 1.6), [], 0, 0
    for text, _ in entries:
        needed = round(font.getlength(text)) + 3 * text_px
        if x and x + needed > width:
            x, y = 0, y + row_px
        places.append((x, y))
        x += needed
    strip = PilImage.new("RGB", (width, y + row_px), (255, 255, 255))
    pen = ImageDraw.Draw(strip)
    for (text, colour), (left, top) in zip(entries, places, strict=True):
        gap = text_px // 3
        pen.rectangle((left + gap, top + gap, left + gap + text_px, top + gap + text_px), fill=colour)
        pen.text((left + 2 * gap + text_px, top + gap), text, fill=(40, 40, 40), font=font)
    return np.array(strip)
