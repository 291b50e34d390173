"""Tiles kept in unnamed scratch files, so that memory stays bounded and a killed process leaves nothing behind."""

import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from wsi_tiling.region import Image

TileKey: TypeAlias = tuple[int, int, int]
"""Level, column, row."""


class EncodedTiles:
    """Encoded tiles by key, all of them on disk.

    Args:
        folder: Where the scratch file goes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the store
        self._places: dict[TileKey, tuple[int, int]] = {}
        self.total_bytes = 0

    def __contains__(self, key: TileKey) -> bool:
        return key in self._places

    def put(self, key: TileKey, encoded: bytes) -> None:
        """Keeps a tile."""
        self._file.seek(self.total_bytes)
        self._file.write(encoded)
        self._places[key] = (self.total_bytes, len(encoded))
        self.total_bytes += len(encoded)

    def get(self, key: TileKey) -> bytes | None:
        """A tile's bytes, None if it was never kept."""
        if key not in self._places:
            return None
        start, length = self._places[key]
        self._file.seek(start)
        return self._file.read(length)

    def close(self) -> None:
        """Removes the scratch file."""
        with suppress(OSError):  # a full disk: what could not be flushed is thrown away in any case
            self._file.close()


class RawTiles:
    """Pixels of unfinished tiles by key. Beyond a number of tiles, those left alone longest wait on disk.

    Args:
        folder: Where the scratch file goes.
        tile_px: Side of every tile.
        held_tiles: How many are held in memory.
    """

    def __init__(self, folder: Path, tile_px: int, held_tiles: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the store
        self._shape = (tile_px, tile_px, 3)
        self._held_tiles = held_tiles
        self._held: OrderedDict[TileKey, Image] = OrderedDict()
        self._slots: dict[TileKey, int] = {}
        self._free_slots: list[int] = []

    def put(self, key: TileKey, tile: Image) -> None:
        """Keeps a tile, (tile_px, tile_px, 3)."""
        self._held[key] = tile
        while len(self._held) > self._held_tiles:
            oldest, pixels = self._held.popitem(last=False)
            slot = self._free_slots.pop() if self._free_slots else len(self._slots)
            self._file.seek(slot * pixels.nbytes)
            self._file.write(pixels.tobytes())
            self._slots[oldest] = slot

    def pop(self, key: TileKey) -> Image | None:
        """Takes a tile out; None if it was never kept."""
        if key in self._held:
            return self._held.pop(key)
        if key not in self._slots:
            return None
        slot = self._slots.pop(key)
        self._free_slots.append(slot)
        count = int(np.prod(self._shape))
        self._file.seek(slot * count)
        return np.frombuffer(bytearray(self._file.read(count)), np.uint8).reshape(self._shape)

    def keys(self, level: int) -> list[TileKey]:
        """All tiles kept of one level."""
        return [key for key in (*self._held, *self._slots) if key[0] == level]

    def close(self) -> None:
        """Removes the scratch file."""
        self._held.clear()
        with suppress(OSError):
            self._file.close()
