"""The directories of a TIFF file, read so that a damaged or hostile file is refused.

Every number in the file is checked: nothing is read or allocated that the file is too short to hold, and a chain
of directories that is endless, goes in circles or has directories without number is an error.
"""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError

MAX_SEGMENT_PX = 2**26
"""Tiles and strips of more pixels (192 MiB of RGB) are refused: no scanner writes them."""
_MAX_DIRECTORIES = 4096
_MAX_TAGS = 1024
_MAX_VALUES = 2**25
_MAGIC = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_KINDS = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 13: "u4"} | {
    16: "u8",
    17: "i8",
    18: "u8",
}
_RATIONAL = (5, 10)

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTE_COUNTS = 270, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTE_COUNTS, SUB_DIRECTORIES = 322, 323, 324, 325, 330
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 338, 339, 347


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF and BigTIFF files do."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


class TiffFile:
    """An open TIFF file: its bytes and its directories.

    Several threads may read at once. It keeps no directory, for each of them holds the file.

    Attributes:
        size: Length in bytes.

    Raises:
        SlideError: The file is no TIFF file, or is damaged or cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._readers = 0
        self._closing = False
        self._file = path.open("rb", buffering=0)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._read_header()
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the file open until the block ends, even if another thread closes it.

        Raises:
            SlideError: It is closed already.
        """
        with self._lock:
            if self._closing:
                raise SlideError(f"{self.path} is closed: open it again")
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                self._close_unused()

    def close(self) -> None:
        """Closes the file once no read is under way; later reads raise SlideError."""
        with self._lock:
            self._closing = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closing and not self._readers:
            self._file.close()

    def read(self, start: int, count: int) -> bytes:
        """Reads bytes.

        Raises:
            SlideError: The file ends before.
        """
        if start < 0 or count < 0 or start + count > self.size:
            raise SlideError(f"{self.path} is damaged or cut short: it ends at byte {self.size}")
        parts = []
        with self._lock:
            if self._file.closed:
                raise SlideError(f"{self.path} is closed: open it again")
            self._file.seek(start)
            while count:
                part = self._file.read(count)
                if not part:
                    raise SlideError(f"{self.path} is cut short: it has shrunk since it was opened")
                parts.append(part)
                count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def directory(self, start: int) -> "Directory":
        """Reads the directory at a byte."""
        return self._directory(start)[0]

    def _read_header(self) -> None:
        magic = self.read(0, 4)
        if magic not in _MAGIC:
            raise SlideError(f"{self.path} is not a TIFF file, or it is damaged")
        self.order, self.big = _MAGIC[magic]
        if self.big and struct.unpack(f"{self.order}HH", self.read(4, 4)) != (8, 0):
            raise SlideError(f"{self.path} is damaged: its header makes no sense")
        self._offset = struct.Struct(self.order + ("Q" if self.big else "I"))
        self._entry = struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    def directories(self) -> list["Directory"]:
        """Reads the main chain, in order; directories below it are read with `directory`.

        Raises:
            SlideError: It is damaged or cut short.
        """
        (start,) = self._offset.unpack(self.read(8 if self.big else 4, self._offset.size))
        found: dict[int, Directory] = {}
        while start:
            if start in found:
                raise SlideError(f"{self.path} is damaged: its chain of images goes in circles")
            if len(found) == _MAX_DIRECTORIES:
                raise SlideError(f"{self.path}: wanted at most {_MAX_DIRECTORIES} images, got more: it is no slide")
            found[start], start = self._directory(start)
        if not found:
            raise SlideError(f"{self.path} is damaged: it holds no image")
        return list(found.values())

    def _directory(self, start: int) -> tuple["Directory", int]:
        """The directory at a byte, and where the next one begins, 0 if there is none."""
        head = struct.Struct(self.order + ("Q" if self.big else "H"))
        (count,) = head.unpack(self.read(start, head.size))
        if not 0 < count <= _MAX_TAGS:
            raise SlideError(f"{self.path} is damaged: it has an image with {count} tags")
        start += head.size
        table = self.read(start, count * self._entry.size + self._offset.size)
        (following,) = self._offset.unpack_from(table, count * self._entry.size)
        entries: dict[int, tuple[int, int, bytes]] = {}
        for tag, kind, number, value in self._entry.iter_unpack(table[: -self._offset.size]):
            entries.setdefault(tag, (kind, number, value))
        return Directory(self, entries), following


@dataclass(frozen=True)
class Directory:
    """The tags of one image. Their values are read from the file when asked for."""

    file: TiffFile
    entries: dict[int, tuple[int, int, bytes]]
    """Tag to kind, number of values, and the values or where they are."""

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.number(WIDTH), self.number(HEIGHT)

    def numbers(self, tag: int) -> NDArray[Any]:
        """All values of a tag, rational ones as floats; empty if the tag is missing.

        Raises:
            SlideError: They are not in the file, or are too many.
        """
        values, rational = self._values(tag)
        if rational:
            above, below = values[::2].astype(float), values[1::2].astype(float)
            return np.asarray(np.divide(above, below, out=np.zeros(len(above)), where=below != 0))
        if values.dtype.kind == "u" and values.size and values.max() >= 2**62:
            raise SlideError(f"{self.file.path} is damaged: tag {tag} holds {values.max()}")
        return values.astype(np.int64)

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag, or the default if the tag is missing."""
        values = self.numbers(tag)
        return int(values[0]) if values.size else default

    def data(self, tag: int) -> bytes:
        """The bytes of a tag."""
        return self._values(tag)[0].tobytes()

    def text(self, tag: int) -> str:
        """The text of a tag, up to its end, in UTF-8 or else as Windows has it; empty if there is none."""
        data = self.data(tag).split(b"\0")[0]
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")

    def segments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The offsets of the image's tiles or strips, and their lengths in bytes.

        Raises:
            SlideError: They are not all in the file, or too large to be true.
        """
        tiled, path = TILE_WIDTH in self, self.file.path
        starts = self.numbers(TILE_OFFSETS if tiled and TILE_OFFSETS in self else STRIP_OFFSETS)
        lengths = self.numbers(TILE_BYTE_COUNTS if tiled and TILE_BYTE_COUNTS in self else STRIP_BYTE_COUNTS)
        if len(starts) != len(lengths):
            raise SlideError(f"{path} is damaged: {len(starts)} tiles or strips begin, {len(lengths)} end")
        there = lengths > 0
        if (starts < 0).any() or (lengths < 0).any() or (starts + lengths)[there].max(initial=0) > self.file.size:
            raise SlideError(f"{path} is damaged or cut short: not all of its tiles are in the file")
        return starts, lengths

    def _values(self, tag: int) -> tuple[NDArray[Any], bool]:
        """The values of a tag as they are stored, and whether they are pairs of numerators and denominators."""
        if tag not in self.entries:
            return np.empty(0, np.int64), False
        kind, count, value = self.entries[tag]
        if kind not in _KINDS:
            raise SlideError(f"{self.file.path} is damaged: tag {tag} is of the unknown kind {kind}")
        if count > _MAX_VALUES:
            raise SlideError(f"{self.file.path} is damaged: tag {tag} has {count} values")
        dtype = np.dtype(self.file.order + _KINDS[kind])
        rational = kind in _RATIONAL
        count *= 2 if rational else 1
        if count * dtype.itemsize > len(value):
            start = int.from_bytes(value, "little" if self.file.order == "<" else "big")
            value = self.file.read(start, count * dtype.itemsize)
        return np.frombuffer(value, dtype, count), rational


def check_structure(path: Path) -> None:
    """Raises SlideError if a TIFF file that another library is to read is cut short, damaged or hostile."""
    file = TiffFile(path)
    try:
        for directory in file.directories():
            directory.segments()
            width, height = directory.number(TILE_WIDTH), directory.number(TILE_HEIGHT)
            if width < 0 or height < 0 or width * height > MAX_SEGMENT_PX:
                raise SlideError(f"{path}: its tiles of {width} x {height} px are too large to be true")
    finally:
        file.close()
