"""Writing slides: a tiled pyramidal TIFF file from tiles that come in any order."""

import errno
import hashlib
import math
import os
import struct
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np

from run_folder import first_line
from wsi_tiling.checks import check_colour, check_number, check_size, is_whole
from wsi_tiling.errors import SlideError
from wsi_tiling.glass import DEFAULT_BACKGROUND
from wsi_tiling.reading.slide import checked_mpp
from wsi_tiling.region import Colour, Image, check_image
from wsi_tiling.writing.tiff_layout import SlideForm, write_tiff
from wsi_tiling.writing.tile_codec import TileCodec, fill_up
from wsi_tiling.writing.tile_store import EncodedTiles, RawTiles, TileKey

_SMALLEST_LEVEL_PX = 256
_HELD_BYTES = 64 * 2**20
_CODING_BYTES = 64 * 2**20
_MAX_THREADS = 8
_LARGEST_CLASSIC_BYTES = 2**32 - 2**25
_PLACE_BYTES = 16
"""Bytes, at most, that record the offset and length of one tile."""
_Coding: TypeAlias = tuple[TileKey, Image, Future[tuple[bytes, Image]]]


class PyramidWriter:
    """Writes a slide that OpenSlide, QuPath and tifffile read, tile by tile, in bounded memory.

    A context manager: the file takes its name when the block ends well, and there is no trace of it if the block
    raises. Each level is half the one before, down to 256 px, averaged from pixels that have not been through the
    encoder yet. Threads encode the tiles; the file does not depend on their number nor on the order of the tiles.
    Encoded tiles wait in scratch files beside the target, so the disk needs room for twice the slide.

    Args:
        path: The file to make.
        size_px: Width and height of the slide.
        mpp: Micrometres a pixel; None if unknown.
        objective: Power of the objective, such as 20; None if unknown. If given, the file is laid out as Aperio's are.
        tile_px: Side of the file's tiles, a multiple of 16.
        quality: JPEG quality, 1 to 100; None stores the pixels exactly.
        description: Text for the file's image description. OpenSlide shows it as `openslide.comment`, alone or, with
            an objective, inside Aperio's description.
        background: Colour of tiles that are never written.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SlideError: The file is there already, its folder is not, or an argument is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size_px: tuple[int, int],
        *,
        mpp: float | None,
        objective: float | None = None,
        tile_px: int = 256,
        quality: int | None = 90,
        description: str = "",
        background: Colour = DEFAULT_BACKGROUND,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.size_px = size_px
        self.mpp = checked_mpp(mpp)
        self.tile_px = tile_px
        try:
            check_size(size_px)
            check_colour(background)
            if objective is not None:
                check_number("a positive power of the objective", objective, above=0)
        except SlideError as error:
            raise SlideError(f"{path}: {error}") from None
        if not is_whole(tile_px, least=16) or tile_px % 16:
            raise SlideError(f"{path}: wanted tiles of a multiple of 16 px, got {tile_px}")
        if quality is not None and not is_whole(quality, least=1, most=100):
            raise SlideError(f"{path}: wanted a JPEG quality of 1 to 100, or None, got {quality}")
        if "\0" in description:
            raise SlideError(f"{path}: wanted a description without zero characters, got {description!r}")
        if os.path.lexists(path) and not overwrite:
            raise SlideError(f"{path} exists: choose another name or pass overwrite=True")
        if not self.path.parent.is_dir():
            raise SlideError(f"{path}: there is no folder {self.path.parent}")
        sizes = [size_px]
        while max(sizes[-1]) > _SMALLEST_LEVEL_PX:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        self._form = SlideForm(tuple(sizes), tile_px, quality, self.mpp, objective, description)
        self._codec = TileCodec(tile_px, quality)
        self._overwrite = overwrite
        self._blank = np.full((tile_px, tile_px, 3), background, np.uint8)
        self._encoded: EncodedTiles | None = None
        self._unfinished: RawTiles | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._coding: deque[_Coding] = deque()
        self._spare: list[Image] = []
        self._begun: set[TileKey] = set()
        self._missing: dict[TileKey, int] = {}

    def __enter__(self) -> Self:
        with self._slide_errors():
            for left in self.path.parent.glob(f".{_mark(self.path)}.{'[0-9a-f]' * 8}.partial"):
                left.unlink(missing_ok=True)  # by a process that was killed while it put this file together
            self._encoded = EncodedTiles(self.path.parent)
            self._unfinished = RawTiles(self.path.parent, self.tile_px, max(1, _HELD_BYTES // self._blank.nbytes))
        count = min(os.cpu_count() or 1, _MAX_THREADS)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="wsi-tiling")
        self._most_coding = max(count, min(8 * count, _CODING_BYTES // self._blank.nbytes))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        encoded, unfinished, threads = self._stores()
        try:
            if kind is None:
                with self._slide_errors():
                    self._finish()
        finally:
            self._encoded = self._unfinished = self._threads = None
            threads.shutdown(cancel_futures=True)
            encoded.close()
            unfinished.close()

    def write(self, xy_px: tuple[int, int], tile: Image) -> None:
        """Writes a rectangle of whole tiles.

        Args:
            xy_px: Upper left corner (x, y), multiples of `tile_px`.
            tile: Pixels, (H, W, 3) uint8; the sides are multiples of `tile_px` unless they end at the slide's edge.

        Raises:
            SlideError: The rectangle is off the tile grid, outside the slide or written already; or the disk is full.
        """
        self._stores()
        side, (x, y) = self.tile_px, xy_px
        try:
            check_image(tile)
        except ValueError as error:
            raise SlideError(f"{self.path}: {error}") from None
        height, width = tile.shape[:2]
        for start, length, whole in ((x, width, self.size_px[0]), (y, height, self.size_px[1])):
            fits = is_whole(start, least=0, most=whole - length) and start % side == 0
            if not fits or (length % side and start + length != whole):
                raise SlideError(
                    f"{self.path}: {width} x {height} px at {xy_px} do not fit the grid of {side} px tiles "
                    f"on a slide of {self.size_px} px"
                )
        places = [(left, top) for top in range(0, height, side) for left in range(0, width, side)]
        keys = [(0, (x + left) // side, (y + top) // side) for left, top in places]
        for key in keys:
            if key in self._begun:
                raise SlideError(f"{self.path}: the tile at {(key[1] * side, key[2] * side)} was written already")
        self._begun.update(keys)
        with self._slide_errors():
            for key, (left, top) in zip(keys, places, strict=True):
                # A copy: the caller may change its array while a thread encodes.
                pixels, part = self._array(), tile[top : top + side, left : left + side]
                pixels[: part.shape[0], : part.shape[1]] = part
                self._code(key, pixels)
                self._collect(self._most_coding)

    def _array(self) -> Image:
        """Room for a tile: that of one that is coded, if there is one."""
        return self._spare.pop() if self._spare else np.empty_like(self._blank)

    def _code(self, key: TileKey, tile: Image) -> None:
        """Hands a tile to a thread."""
        level, col, row = key
        width, height = self._form.sizes[level]
        inside = (min(self.tile_px, width - col * self.tile_px), min(self.tile_px, height - row * self.tile_px))
        if inside != (self.tile_px, self.tile_px):
            fill_up(tile, *inside)
        threads = self._stores()[2]
        self._coding.append((key, tile, threads.submit(self._codec.encode_and_halve, tile)))

    def _collect(self, most: int) -> None:
        """Takes back what threads have coded, in the order they got it, until `most` tiles are still with them."""
        encoded, unfinished, _ = self._stores()
        while len(self._coding) > most:
            key, tile, coding = self._coding.popleft()
            coded, half = coding.result()
            encoded.put(key, coded)
            self._spare.append(tile)
            level, col, row = key
            if level + 1 == len(self._form.sizes):
                continue
            parent = (level + 1, col // 2, row // 2)
            pixels = unfinished.pop(parent)
            if pixels is None:
                pixels = self._array()
                pixels[:] = self._blank
                self._missing[parent] = self._children(parent)
            left, top = col % 2 * self.tile_px // 2, row % 2 * self.tile_px // 2
            pixels[top : top + half.shape[0], left : left + half.shape[1]] = half
            self._missing[parent] -= 1
            if self._missing[parent]:
                unfinished.put(parent, pixels)
            else:
                del self._missing[parent]
                self._code(parent, pixels)

    def _children(self, key: TileKey) -> int:
        """The number of tiles of the level before that make up a tile."""
        level, col, row = key
        cols, rows = self._grid(level - 1)
        return min(2, cols - 2 * col) * min(2, rows - 2 * row)

    def _grid(self, level: int) -> tuple[int, int]:
        """Columns and rows of tiles of a level."""
        width, height = self._form.sizes[level]
        return math.ceil(width / self.tile_px), math.ceil(height / self.tile_px)

    def _finish(self) -> None:
        """Fills the gaps with background, puts the file together and gives it its name."""
        unfinished = self._stores()[1]
        self._collect(0)
        for level in range(1, len(self._form.sizes)):
            for key in unfinished.keys(level):
                pixels = unfinished.pop(key)
                if pixels is not None:
                    self._code(key, pixels)
                    self._collect(self._most_coding)
            self._collect(0)
        partial = self.path.with_name(f".{_mark(self.path)}.{uuid.uuid4().hex[:8]}.partial")
        try:
            big = self._file_bytes() > _LARGEST_CLASSIC_BYTES
            write_tiff(partial, self._form, self._encoded_level, self._thumbnail, big=big)
            if os.path.lexists(self.path) and not self._overwrite:
                raise SlideError(f"{self.path} exists: another program made it in the meantime")
            os.replace(partial, self.path)  # noqa: PTH105 - says that it replaces
        finally:
            partial.unlink(missing_ok=True)

    def _file_bytes(self) -> int:
        """The most bytes of the file, apart from a few tags and the small image. Tiles never written count, too."""
        encoded = self._stores()[0]
        places = sum(math.prod(self._grid(level)) for level in range(len(self._form.sizes)))
        blank_bytes = len(self._codec.encode(self._blank))
        description_bytes = len(self._form.description.encode())
        return encoded.total_bytes + (places - len(encoded)) * blank_bytes + places * _PLACE_BYTES + description_bytes

    def _encoded_level(self, level: int) -> Iterator[bytes]:
        encoded = self._stores()[0]
        blank = self._codec.encode(self._blank)
        cols, rows = self._grid(level)
        for row in range(rows):
            for col in range(cols):
                yield encoded.get((level, col, row)) or blank

    def _thumbnail(self) -> Image:
        level, side = self._form.thumbnail_level, self.tile_px
        cols, rows = self._grid(level)
        picture = np.empty((rows * side, cols * side, 3), np.uint8)
        for number, coded in enumerate(self._encoded_level(level)):
            top, left = number // cols * side, number % cols * side
            picture[top : top + side, left : left + side] = self._codec.decode(coded)
        width, height = self._form.sizes[level]
        return np.ascontiguousarray(picture[:height, :width])

    def _stores(self) -> tuple[EncodedTiles, RawTiles, ThreadPoolExecutor]:
        if self._encoded is None or self._unfinished is None or self._threads is None:
            raise SlideError(f"{self.path}: write inside a `with PyramidWriter(...)` block")
        return self._encoded, self._unfinished, self._threads

    @contextmanager
    def _slide_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SlideError(f"{self.path}: the disk is full: free some space and write it again") from error
            raise SlideError(f"{self.path} cannot be written: {error.strerror or error}") from error
        except SlideError:
            raise
        # A number that the form of the file has no room for, for instance.
        except (struct.error, ValueError, OverflowError) as error:
            raise SlideError(f"{self.path} cannot be written: {first_line(error)}") from error


def _mark(path: Path) -> str:
    """Stands for a file's name in temporary names, which are not to grow with it."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
