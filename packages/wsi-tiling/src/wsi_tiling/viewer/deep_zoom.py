"""A slide cut into tiles as Deep Zoom cuts images, the form that OpenSeadragon reads."""

import io
from dataclasses import dataclass
from functools import cached_property

import PIL.Image

from wsi_tiling.reading.slide import Slide
from wsi_tiling.region import Image

_SMALLEST_LEVEL = 8
"""256 px at most: a viewer needs no smaller one."""


@dataclass(frozen=True)
class DeepZoom:
    """The tiles of an image at every power of two, from one pixel (level 0) to full size (`max_level`).

    Tiles take `overlap_px` of their neighbours' pixels along each common border: what the browser needs to interpolate
    there, at any scale from a half up.

    Source: Microsoft, 'Deep Zoom file format overview'.

    Args:
        size_px: Width and height of the image.
        tile_px: Side of a tile without its overlaps.
        overlap_px: Pixels shared with each neighbour.
    """

    size_px: tuple[int, int]
    tile_px: int = 252
    overlap_px: int = 2

    @cached_property
    def max_level(self) -> int:
        """The level at full size."""
        return (max(self.size_px) - 1).bit_length()

    @property
    def min_level(self) -> int:
        """The smallest level that a viewer asks for."""
        return min(_SMALLEST_LEVEL, self.max_level)

    def downsample(self, level: int) -> int:
        """Pixels at full size that one pixel of a level stands for, across or down."""
        return 1 << (self.max_level - level)

    def level_px(self, level: int) -> tuple[int, int]:
        """Width and height of a level: parts of a pixel at its end count as one."""
        factor = self.downsample(level)
        return -(-self.size_px[0] // factor), -(-self.size_px[1] // factor)

    def grid(self, level: int) -> tuple[int, int]:
        """Columns and rows of tiles of a level."""
        width, height = self.level_px(level)
        return -(-width // self.tile_px), -(-height // self.tile_px)

    def facts(self) -> dict[str, int]:
        """The facts that `pane.js` makes a source of tiles from."""
        width, height = self.size_px
        return {
            "width": width,
            "height": height,
            "tilePx": self.tile_px,
            "overlapPx": self.overlap_px,
            "minLevel": self.min_level,
            "maxLevel": self.max_level,
        }

    def box(self, level: int, column: int, row: int) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of a tile in pixels of its level; None if there is no such tile."""
        if not 0 <= level <= self.max_level:
            return None
        width, height = self.level_px(level)
        left, top = column * self.tile_px, row * self.tile_px
        if not (0 <= left < width and 0 <= top < height):
            return None
        return (
            max(0, left - self.overlap_px),
            max(0, top - self.overlap_px),
            min(width, left + self.tile_px + self.overlap_px),
            min(height, top + self.tile_px + self.overlap_px),
        )


def read_tile(slide: Slide, pyramid: DeepZoom, level: int, column: int, row: int) -> Image | None:
    """Reads a tile of a slide, antialiased, as (H, W, 3) uint8; None if there is no such tile.

    Raises:
        SlideError: The file cannot be read there.
    """
    box = pyramid.box(level, column, row)
    if box is None:
        return None
    factor = pyramid.downsample(level)
    left, top, right, bottom = box
    size_px = right - left, bottom - top
    return slide.read((left * factor, top * factor), (size_px[0] * factor, size_px[1] * factor), size_px)


def encode_png(image: Image) -> bytes:
    """Encodes a tile without loss, so that the browser shows the slide and no artefacts of compression."""
    coded = io.BytesIO()
    PIL.Image.fromarray(image).save(coded, "PNG", compress_level=1)
    return coded.getvalue()
