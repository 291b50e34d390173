"""Writing slides: a tiled pyramidal TIFF file from tiles that come in any order."""

import errno
import math
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import imagecodecs
import numpy as np
import tifffile

from wsi_tiling.errors import SlideError
from wsi_tiling.region import Colour, Image, block_mean, check_image
from wsi_tiling.slide import DEFAULT_BACKGROUND, checked_mpp
from wsi_tiling.tile_store import EncodedTiles, RawTiles, TileKey

_SMALLEST_LEVEL_PX = 256
_HELD_BYTES = 64 * 2**20
_LARGEST_CLASSIC_BYTES = 2**32 - 2**25


class PyramidWriter:
    """Writes a slide that OpenSlide, QuPath and tifffile read, tile by tile, in bounded memory.

    A context manager: the file takes its name when the block ends well, and there is no trace of it if the block
    raises. Each level is half the one before, down to 256 px, averaged from pixels that have not been through the
    encoder yet. Levels are a chain of TIFF pages, reduced ones marked as such; the resolution tags hold the scale.
    Encoded tiles wait in scratch files beside the target, so the disk needs room for twice the slide.

    Args:
        path: The file to make.
        size_px: Width and height of the slide.
        mpp: Micrometres a pixel; None if unknown.
        tile_px: Side of the file's tiles, a multiple of 16.
        quality: JPEG quality, 1 to 100; None stores the pixels exactly.
        description: Text for the file's image description, ASCII.
        background: Colour of tiles that are never written.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SlideError: The file is there already, its folder is not, or an argument is out of range.
    """

    def __init__(
        self,
        path: str | Path,
        size_px: tuple[int, int],
        *,
        mpp: float | None,
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
        if min(size_px) < 1:
            raise SlideError(f"{path}: wanted a slide of at least 1 x 1 px, got {size_px}")
        if tile_px < 16 or tile_px % 16:
            raise SlideError(f"{path}: wanted tiles of a multiple of 16 px, got {tile_px}")
        if quality is not None and not 1 <= quality <= 100:
            raise SlideError(f"{path}: wanted a JPEG quality of 1 to 100, or None, got {quality}")
        if not description.isascii():
            raise SlideError(f"{path}: wanted a description in ASCII, got {description!r}")
        if self.path.exists() and not overwrite:
            raise SlideError(f"{path} exists: choose another name or pass overwrite=True")
        if not self.path.parent.is_dir():
            raise SlideError(f"{path}: there is no folder {self.path.parent}")
        self._quality = quality
        self._description = description
        self._background = background
        self._overwrite = overwrite
        self._sizes = [size_px]
        while max(self._sizes[-1]) > _SMALLEST_LEVEL_PX:
            self._sizes.append(((self._sizes[-1][0] + 1) // 2, (self._sizes[-1][1] + 1) // 2))
        self._encoded: EncodedTiles | None = None
        self._unfinished: RawTiles | None = None
        self._missing: dict[TileKey, int] = {}

    def __enter__(self) -> Self:
        with self._told_errors():
            self._encoded = EncodedTiles(self.path.parent)
            self._unfinished = RawTiles(self.path.parent, self.tile_px, max(1, _HELD_BYTES // (3 * self.tile_px**2)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        encoded, unfinished = self._stores()
        try:
            if kind is None:
                with self._told_errors():
                    self._finish(encoded, unfinished)
        finally:
            self._encoded = self._unfinished = None
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
        encoded, unfinished = self._stores()
        side, (x, y) = self.tile_px, xy_px
        try:
            check_image(tile)
        except ValueError as error:
            raise SlideError(f"{self.path}: {error}") from None
        height, width = tile.shape[:2]
        for start, length, whole in ((x, width, self.size_px[0]), (y, height, self.size_px[1])):
            if start < 0 or start % side or start + length > whole or (length % side and start + length != whole):
                raise SlideError(
                    f"{self.path}: {width} x {height} px at {xy_px} do not fit the grid of {side} px tiles "
                    f"on a slide of {self.size_px} px"
                )
        places = [(left, top) for top in range(0, height, side) for left in range(0, width, side)]
        keys = [(0, (x + left) // side, (y + top) // side) for left, top in places]
        for key in keys:
            if key in encoded:
                raise SlideError(f"{self.path}: the tile at {(key[1] * side, key[2] * side)} was written already")
        with self._told_errors():
            for key, (left, top) in zip(keys, places, strict=True):
                self._complete(key, tile[top : top + side, left : left + side], encoded, unfinished)

    def _complete(self, key: TileKey, tile: Image, encoded: EncodedTiles, unfinished: RawTiles) -> None:
        """Keeps a whole tile, without what lies past the slide's edge, and passes its half on to the next level."""
        encoded.put(key, self._encode(tile))
        level, col, row = key
        if level + 1 == len(self._sizes):
            return
        parent = (level + 1, col // 2, row // 2)
        pixels = unfinished.pop(parent)
        if pixels is None:
            pixels = np.full((self.tile_px, self.tile_px, 3), self._background, np.uint8)
            self._missing[parent] = self._children(parent)
        half, (left, top) = block_mean(tile, (2, 2)), (col % 2 * self.tile_px // 2, row % 2 * self.tile_px // 2)
        pixels[top : top + half.shape[0], left : left + half.shape[1]] = half
        self._missing[parent] -= 1
        if self._missing[parent]:
            unfinished.put(parent, pixels)
        else:
            del self._missing[parent]
            self._complete(parent, self._inside(parent, pixels), encoded, unfinished)

    def _children(self, key: TileKey) -> int:
        """How many tiles of the level before make up a tile."""
        level, col, row = key
        cols, rows = self._grid(level - 1)
        return min(2, cols - 2 * col) * min(2, rows - 2 * row)

    def _inside(self, key: TileKey, pixels: Image) -> Image:
        """The part of a tile that lies on the slide."""
        level, col, row = key
        width, height = self._sizes[level]
        return pixels[: height - row * self.tile_px, : width - col * self.tile_px]

    def _grid(self, level: int) -> tuple[int, int]:
        """Columns and rows of tiles of a level."""
        width, height = self._sizes[level]
        return math.ceil(width / self.tile_px), math.ceil(height / self.tile_px)

    def _encode(self, tile: Image) -> bytes:
        """Encodes a tile, filled up to its full size with its own edge so that no sharp border rings in the JPEG."""
        short = [(0, self.tile_px - length) for length in tile.shape[:2]]
        full = np.pad(tile, (*short, (0, 0)), mode="edge") if any(after for _, after in short) else tile
        full = np.ascontiguousarray(full)
        if self._quality is None:
            return bytes(imagecodecs.zlib_encode(full.tobytes(), level=6))
        return bytes(
            imagecodecs.jpeg8_encode(
                full, level=self._quality, colorspace="RGB", outcolorspace="YCBCR", subsampling=(2, 2)
            )
        )

    def _finish(self, encoded: EncodedTiles, unfinished: RawTiles) -> None:
        """Fills the gaps with background, puts the file together and gives it its name."""
        for level in range(1, len(self._sizes)):
            for key in unfinished.keys(level):
                pixels = unfinished.pop(key)
                if pixels is not None:
                    self._complete(key, self._inside(key, pixels), encoded, unfinished)
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            big = encoded.total_bytes > _LARGEST_CLASSIC_BYTES
            with tifffile.TiffWriter(partial, bigtiff=big) as tiff:
                for level in range(len(self._sizes)):
                    self._write_level(tiff, level, encoded)
            if self.path.exists() and not self._overwrite:
                raise SlideError(f"{self.path} exists: it was made by another in the meantime")
            os.replace(partial, self.path)  # noqa: PTH105 - named for what it does
        finally:
            partial.unlink(missing_ok=True)

    def _write_level(self, tiff: tifffile.TiffWriter, level: int, encoded: EncodedTiles) -> None:
        width, height = self._sizes[level]
        per_cm = 0.0 if self.mpp is None else 1e4 / (self.mpp * 2**level)
        tiff.write(
            self._encoded_level(level, encoded),
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(self.tile_px, self.tile_px),
            photometric="rgb",
            compression="adobe_deflate" if self._quality is None else "jpeg",
            subsampling=None if self._quality is None else (2, 2),
            subfiletype=min(level, 1),
            resolution=None if self.mpp is None else (per_cm, per_cm),
            resolutionunit="NONE" if self.mpp is None else "CENTIMETER",
            description=self._description if level == 0 and self._description else None,
            software="wsi-tiling",
            metadata=None,
        )

    def _encoded_level(self, level: int, encoded: EncodedTiles) -> Iterator[bytes]:
        blank = self._encode(np.full((self.tile_px, self.tile_px, 3), self._background, np.uint8))
        cols, rows = self._grid(level)
        for row in range(rows):
            for col in range(cols):
                yield encoded.get((level, col, row)) or blank

    def _stores(self) -> tuple[EncodedTiles, RawTiles]:
        if self._encoded is None or self._unfinished is None:
            raise SlideError(f"{self.path}: write inside a `with PyramidWriter(...)` block")
        return self._encoded, self._unfinished

    @contextmanager
    def _told_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SlideError(f"{self.path}: the disk is full: free some space and write it again") from error
            raise SlideError(f"{self.path} cannot be written: {error.strerror or error}") from error
