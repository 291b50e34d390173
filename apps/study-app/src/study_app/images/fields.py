"""Fields of whole slides for readers: a square of each slide, of equal size and scale, cut into tiles."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study_app.images.pictures import TISSUE
from study_app.images.scaled import ScaledSlide
from study_app.stored_images.encoding import encode
from study_app.stored_images.tiles import TILE_PX, TileGrid
from wsi_tiling import PyramidWriter, open_slide, tissue_mask

_SMALL_PX = 1024
_BLOCK_PX = 4 * TILE_PX


@dataclass(frozen=True, eq=False)
class Field:
    """The field of a slide that readers see.

    Attributes:
        xy: Upper left corner, pixels of the scaled slide.
        size_px: Side of the field, pixels of the scaled slide.
        small: Small picture of the field, (S, S, 3) uint8.
        sha256: SHA-256 of the small picture, in hex.
        tissue_share: Share of tissue in the small picture.
    """

    xy: tuple[int, int]
    size_px: int
    small: NDArray[np.uint8]
    sha256: str
    tissue_share: float


def place_field(slide: ScaledSlide, size_px: int) -> Field:
    """Chooses the square field of a slide with the most tissue; ties go to the one nearest to the middle.

    A slide smaller than the field lies in the middle of it, on its own background.

    Args:
        slide: The slide, at the scale of the study.
        size_px: Side of the field, pixels of the scaled slide.

    Raises:
        SlideError: The slide cannot be read.
    """
    width, height = slide.size
    scale = max(1.0, max(width, height) / _SMALL_PX)
    shape = max(1, round(height / scale)), max(1, round(width / scale))
    whole = slide.read((0, 0), (float(width), float(height)), (shape[1], shape[0]))
    row, column = _richest(tissue_mask(whole, TISSUE), max(1, round(size_px / scale)))
    xy = _corner(column * scale, width, size_px), _corner(row * scale, height, size_px)
    small = slide.read(xy, float(size_px), min(size_px, _SMALL_PX))
    return Field(
        xy=xy,
        size_px=size_px,
        small=small,
        sha256=hashlib.sha256(small.tobytes()).hexdigest(),
        tissue_share=float(tissue_mask(small, TISSUE).mean()),
    )


def cut_tiles(slide: ScaledSlide, field: Field, grid: TileGrid, scratch: Path) -> Iterator[bytes]:
    """Cuts a field into encoded tiles, in the order of the grid, in bounded memory.

    The smaller levels are made from the largest one, and not read from the slide, because scanners and generators
    reduce levels in different ways.

    Args:
        slide: The slide, at the scale of the study.
        field: The field.
        grid: Grid of the study's tiles.
        scratch: Temporary folder for the field's pixels; made if missing, and removed if it is empty.

    Raises:
        SlideError: The slide cannot be read, or the disk is full.
    """
    scratch.mkdir(exist_ok=True)
    path, size_px = scratch / "field.tiff", grid.size_px
    try:
        with PyramidWriter(path, (size_px, size_px), mpp=None, tile_px=TILE_PX, quality=None) as writer:
            for top in range(0, size_px, _BLOCK_PX):
                for left in range(0, size_px, _BLOCK_PX):
                    sides = min(_BLOCK_PX, size_px - left), min(_BLOCK_PX, size_px - top)
                    corner = field.xy[0] + left, field.xy[1] + top
                    writer.write((left, top), slide.read(corner, (float(sides[0]), float(sides[1])), sides))
        with open_slide(path) as pyramid:
            for level, (left, top, right, bottom) in grid.boxes():
                factor, sides = grid.pyramid.downsample(level), (right - left, bottom - top)
                field_l0 = float(sides[0] * factor), float(sides[1] * factor)
                yield encode(pyramid.read((left * factor, top * factor), field_l0, sides))
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            scratch.rmdir()


def _richest(mask: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Upper row and left column of the square with the most tissue in a mask; a smaller mask is taken as a whole."""
    down, across = (min(side, length) for length in mask.shape)
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    counts = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    rows, columns = np.nonzero(counts == counts.max())
    middle = (np.array(counts.shape) - 1) / 2
    nearest = np.argmin((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def _corner(start: float, length: int, side: int) -> int:
    """Start of a field in a slide along one axis, inside the slide if possible."""
    return min(round(start), length - side) if side <= length else (length - side) // 2
