"""Slides as tiles: a square field at every power of two, cut as Deep Zoom cuts pictures, all of it in one file.

The file begins with where each tile begins, and where the last one ends: 8 bytes each, the lowest first. Then come the
tiles, encoded alike.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from study_app.errors import UsageError
from study_app.images.encoding import BLOCK

TILE_PX = 256
OVERLAP_PX = 2
"""Pixels that a tile takes of each neighbour: what a viewer needs to interpolate where they meet."""
TILES_SUFFIX = ".tiles"
_SMALLEST_LEVEL = 8
"""One tile."""
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

    Source: Microsoft, 'Deep Zoom file format overview'.
    """

    size_px: int

    def __post_init__(self) -> None:
        if self.size_px < 1 or whole_size(self.size_px) != self.size_px:
            raise UsageError(f"a field of {self.size_px} px cannot be halved level by level")

    @property
    def last_level(self) -> int:
        """The level at full size."""
        return (self.size_px - 1).bit_length()

    @property
    def first_level(self) -> int:
        """The smallest level."""
        return min(_SMALLEST_LEVEL, self.last_level)

    def downsample(self, level: int) -> int:
        """Pixels at full size that one pixel of a level stands for, across or down."""
        return 1 << (self.last_level - level)

    def columns(self, level: int) -> int:
        """Columns of a level, which has as many rows."""
        return -(-self.size_px // self.downsample(level) // TILE_PX)

    @cached_property
    def count(self) -> int:
        """How many tiles there are."""
        return sum(self.columns(level) ** 2 for level in self._levels)

    def number(self, level: int, column: int, row: int) -> int | None:
        """The place of a tile among all, level by level and row by row; None if there is no such tile."""
        if level not in self._levels:
            return None
        columns = self.columns(level)
        if not (0 <= column < columns and 0 <= row < columns):
            return None
        return sum(self.columns(lower) ** 2 for lower in range(self.first_level, level)) + row * columns + column

    def boxes(self) -> Iterator[tuple[int, Box]]:
        """All tiles in their order: the level, and what the tile shows of it."""
        for level in self._levels:
            side = self.size_px // self.downsample(level)
            starts = range(0, side, TILE_PX)
            spans = [(max(0, start - OVERLAP_PX), min(side, start + TILE_PX + OVERLAP_PX)) for start in starts]
            yield from ((level, (left, top, right, bottom)) for top, bottom in spans for left, right in spans)

    @property
    def _levels(self) -> range:
        return range(self.first_level, self.last_level + 1)


def whole_size(size_px: int) -> int:
    """The largest side of a field, this or less, of which every level has whole pixels."""
    factor = 1 << max(0, (size_px - 1).bit_length() - _SMALLEST_LEVEL)
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
