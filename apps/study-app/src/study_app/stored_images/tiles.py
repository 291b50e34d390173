"""Slides as tiles: a square field at every power of two, cut as Deep Zoom cuts pictures, all of it in one file.

The file begins with where each tile begins, and where the last one ends: 8 bytes each, the lowest first. Then come the
tiles, encoded alike.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import TypeAlias

from run_folder import UsageError
from study_app.stored_images.encoding import BLOCK
from wsi_tiling.viewer import DeepZoom

TILE_PX = 256
OVERLAP_PX = 2
"""Pixels that a tile takes of each neighbour: what a viewer needs to interpolate where they meet."""
TILES_SUFFIX = ".tiles"
_PLACE = struct.Struct("<2Q")

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom, pixels of a level."""


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a square field, from the smallest level, which is one tile, to full size.

    A level is half the one above it. Levels have Deep Zoom's numbers: level n fits into 2^n pixels.

    Args:
        size_px: Side of the field at full size: one that `whole_size` gives, so that all levels have whole pixels.

    Raises:
        UsageError: It is none.
    """

    size_px: int

    def __post_init__(self) -> None:
        if self.size_px < 1 or whole_size(self.size_px) != self.size_px:
            raise UsageError(f"a field of {self.size_px} px cannot be halved level by level")

    @cached_property
    def pyramid(self) -> DeepZoom:
        """The levels and their tiles."""
        return DeepZoom((self.size_px, self.size_px), TILE_PX, OVERLAP_PX)

    @property
    def levels(self) -> range:
        """The levels, from the smallest, which is one tile, to full size."""
        return range(self.pyramid.min_level, self.pyramid.max_level + 1)

    def columns(self, level: int) -> int:
        """Columns of a level, which has as many rows."""
        return self.pyramid.grid(level)[0]

    @cached_property
    def count(self) -> int:
        """How many tiles there are."""
        return sum(self.columns(level) ** 2 for level in self.levels)

    def number(self, level: int, column: int, row: int) -> int | None:
        """The place of a tile among all, level by level and row by row; None if there is no such tile."""
        if level not in self.levels or self.pyramid.box(level, column, row) is None:
            return None
        before = sum(self.columns(lower) ** 2 for lower in range(self.levels.start, level))
        return before + row * self.columns(level) + column

    def boxes(self) -> Iterator[tuple[int, Box]]:
        """All tiles in their order: the level, and what the tile shows of it."""
        for level in self.levels:
            for row, column in product(range(self.columns(level)), repeat=2):
                if (box := self.pyramid.box(level, column, row)) is not None:
                    yield level, box


def whole_size(size_px: int) -> int:
    """The largest side of a field, this or less, of which every level has whole pixels."""
    pyramid = DeepZoom((size_px, size_px), TILE_PX, OVERLAP_PX)
    factor = pyramid.downsample(pyramid.min_level)
    return size_px // factor * factor


def write_tiles(path: Path, grid: TileGrid, tiles: Iterable[bytes]) -> Iterator[int]:
    """Writes a file of encoded tiles, in the order of the grid, and yields how many there are after each."""
    ends = [(grid.count + 1) * 8]
    with path.open("wb") as file:
        file.seek(ends[0])
        for tile in tiles:
            file.write(tile)
            ends.append(ends[-1] + len(tile))
            yield len(ends) - 1
        file.seek(0)
        file.write(struct.pack(f"<{len(ends)}Q", *ends))


def tile_length(paths: Iterable[Path], grid: TileGrid) -> int:
    """The length that all tiles of some files are sent with: that of the longest, up to a multiple of BLOCK."""
    longest = 0
    for path in paths:
        with path.open("rb") as file:
            ends = struct.unpack(f"<{grid.count + 1}Q", file.read((grid.count + 1) * 8))
        longest = max(longest, *(end - begin for begin, end in pairwise(ends)))
    return -(-longest // BLOCK) * BLOCK


def read_tile(path: Path, number: int, length: int) -> bytes:
    """Reads a tile; zeros after the picture's end, which no decoder reads, make all tiles equally long.

    As many bytes are read whatever the tile is, so that the time it takes does not tell its length.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(number * 8)
        begin, end = _PLACE.unpack(file.read(_PLACE.size))
        file.seek(begin)
        return file.read(length)[: end - begin].ljust(length, b"\0")
