"""Tiles kept in unnamed scratch files, so that memory stays bounded and a killed process leaves nothing behind."""

import errno
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from wsi_tiling.region import Image

TileKey: TypeAlias = tuple[int, int, int]
"""Level, column, row."""
_WAITING_BYTES = 2**20


class EncodedTiles:
    """Encoded tiles by key, all of them on disk but for the last MiB.

    Args:
        folder: Where the scratch file goes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed with the store
        self._places: dict[TileKey, tuple[int, int]] = {}
        self._waiting = bytearray()
        self.total_bytes = 0

    def __contains__(self, key: TileKey) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def put(self, key: TileKey, encoded: bytes) -> None:
        """Keeps a tile."""
        self._places[key] = (self.total_bytes, len(encoded))
        self.total_bytes += len(encoded)
        self._waiting += encoded
        if len(self._waiting) >= _WAITING_BYTES:
            self._flush()

    def get(self, key: TileKey) -> bytes | None:
        """A tile's bytes, None if it was never kept."""
        if key not in self._places:
            return None
        self._flush()
        start, length = self._places[key]
        self._file.seek(start)
        return _read(self._file, length)

    def close(self) -> None:
        """Removes the scratch file."""
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            self._file.seek(self.total_bytes - len(self._waiting))
            _write(self._file, self._waiting)
            self._waiting.clear()


class RawTiles:
    """Pixels of unfinished tiles by key. Beyond a number of tiles, those left alone longest wait on disk.

    Args:
        folder: Where the scratch file goes.
        tile_px: Side of every tile.
        held_tiles: How many are held in memory.
    """

    def __init__(self, folder: Path, tile_px: int, held_tiles: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed with the store
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
            _write(self._file, pixels.data.cast("B"))
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
        return np.frombuffer(bytearray(_read(self._file, count)), np.uint8).reshape(self._shape)

    def keys(self, level: int) -> list[TileKey]:
        """All tiles kept of one level."""
        return [key for key in (*self._held, *self._slots) if key[0] == level]

    def close(self) -> None:
        """Removes the scratch file."""
        self._held.clear()
        self._file.close()


def _write(file: IO[bytes], data: bytearray | memoryview) -> None:
    """Writes all of the data to an unbuffered file, which may take it in parts."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    left.release()


def _read(file: IO[bytes], count: int) -> bytes:
    parts = [file.read(count)]
    while (got := sum(map(len, parts))) < count:
        parts.append(file.read(count - got))
        if not parts[-1]:
            raise OSError(errno.EIO, "the scratch file has become shorter")
    return b"".join(parts)
