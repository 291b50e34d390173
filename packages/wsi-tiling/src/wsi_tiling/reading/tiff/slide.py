"""TIFF files read by region: only the tiles or strips that a field touches are decoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from run_folder import first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.file_slide import FileSlide
from wsi_tiling.reading.slide import checked_mpp
from wsi_tiling.reading.tiff.decode import decode_segment, to_colour
from wsi_tiling.reading.tiff.file import TiffFile
from wsi_tiling.reading.tiff.images import read_layout
from wsi_tiling.reading.tiff.levels import UNCOMPRESSED, UPRIGHT, TiffLevel
from wsi_tiling.reading.tile_cache import TileCache
from wsi_tiling.region import Colour

_WHOLE_ROWS_BYTES = 2**20


@dataclass(frozen=True)
class _Opened:
    file: TiffFile
    cache: TileCache


class TiffSlide(FileSlide[_Opened]):
    """A plain or pyramidal TIFF, BigTIFF or OME-TIFF file of 8-bit grey, RGB or palette colours. Made by `open_slide`.

    Tiles or strips that are left out are background, as transparent pixels are. Where the file says that it lies on its
    side or upside down, the slide is upright all the same.

    Attributes:
        layouts: How each level is stored.

    Raises:
        SlideError: The file is damaged, or is not such a file.
        UnsupportedTiffError: It is in colours or a compression that are not decoded here.
    """

    def __init__(self, path: Path, *, mpp: float | None, background: Colour | None, cache_mib: float) -> None:
        checked_mpp(mpp)
        super().__init__(path, background, cache_mib)
        self._set_scale(mpp, self._mpp_of_file)

    def _read_layout(self, opened: _Opened) -> None:
        layout = read_layout(opened.file)
        self.layouts, self.notes, self._mpp_of_file = layout.levels, layout.notes, layout.mpp
        self.levels = tuple(level.turn.upright_size(level.size_px) for level in self.layouts)
        self._channels = [4 if level.alpha or not level.lengths.all() else 3 for level in self.layouts]

    def _open(self) -> _Opened:
        try:
            return _Opened(TiffFile(self.path), TileCache(self.cache_bytes))
        except OSError as error:
            raise SlideError(f"{self.path} cannot be opened: {first_line(error)}") from error

    def _release(self, opened: _Opened) -> None:
        opened.file.close()

    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        opened, turn = self._file(), self.layouts[level].turn
        with opened.file.in_use():
            if turn == UPRIGHT:
                return self._stored_pixels(opened, level, x_px, y_px, width_px, height_px)
            window = turn.stored_window((x_px, y_px, width_px, height_px), self.levels[level])
            return turn.upright(self._stored_pixels(opened, level, *window))

    def _stored_pixels(
        self, opened: _Opened, level: int, x_px: int, y_px: int, width_px: int, height_px: int
    ) -> NDArray[np.uint8]:
        """A window of a level as it lies in the file."""
        layout = self.layouts[level]
        across, down = layout.segment_px
        pixels = np.empty((height_px, width_px, self._channels[level]), np.uint8)
        for row, top, bottom in _pieces(y_px, height_px, down):
            for col, left, right in _pieces(x_px, width_px, across):
                target = pixels[row * down + top - y_px :, col * across + left - x_px :][: bottom - top, : right - left]
                try:
                    if layout.compression == UNCOMPRESSED:
                        target[:] = self._stored(opened.file, level, (col, row), (left, top, right, bottom))
                    else:
                        target[:] = self._segment(opened, level, (col, row))[top:bottom, left:right]
                except SlideError:
                    raise
                # Damage can trip the decoders anywhere.
                except Exception as error:
                    raise SlideError(f"{self.path} is damaged or cut short: {first_line(error)}") from error
        return pixels

    def _segment(self, opened: _Opened, level: int, place: tuple[int, int]) -> NDArray[np.uint8]:
        """A tile or strip in colour, from the cache or decoded."""
        key = (level, *place)
        pixels = opened.cache.get(key)
        if pixels is None:
            layout = self.layouts[level]
            width, height = layout.segment_px
            rows = height if layout.tiled else min(height, layout.size_px[1] - place[1] * height)
            planes = []
            for index in self._indices(layout, place):
                start, length = int(layout.starts[index]), int(layout.lengths[index])
                if not length:
                    return np.zeros((rows, width, 4), np.uint8)
                most = 2 * width * height * layout.samples + 2**16
                if length > most:
                    raise SlideError(f"{self.path} is damaged: a tile takes {length} bytes, wanted at most {most}")
                planes.append(decode_segment(layout, opened.file.read(start, length), rows))
            samples = np.concatenate(planes, axis=2) if layout.separate else planes[0]
            pixels = to_colour(layout, samples, self._channels[level])
            opened.cache.put(key, pixels)
        return pixels

    def _stored(
        self, file: TiffFile, level: int, place: tuple[int, int], box: tuple[int, int, int, int]
    ) -> NDArray[np.uint8]:
        """A box of an uncompressed tile or strip in colour: what it needs is read, however large the strip."""
        layout = self.layouts[level]
        width = layout.segment_px[0]
        left, top, right, bottom = box
        step = 1 if layout.separate else layout.samples
        planes = []
        for index in self._indices(layout, place):
            start, length = int(layout.starts[index]), int(layout.lengths[index])
            if not length:
                return np.zeros((bottom - top, right - left, 4), np.uint8)
            if bottom * width * step > length:
                raise SlideError(f"{self.path} is damaged: a tile or strip is too short for its pixels")
            if width <= 4 * (right - left) or (bottom - top) * width * step <= _WHOLE_ROWS_BYTES:
                data = file.read(start + top * width * step, (bottom - top) * width * step)
                rows = np.frombuffer(data, np.uint8).reshape(bottom - top, width, step)[:, left:right]
            else:
                data = b"".join(
                    file.read(start + (row * width + left) * step, (right - left) * step) for row in range(top, bottom)
                )
                rows = np.frombuffer(data, np.uint8).reshape(bottom - top, right - left, step)
            planes.append(rows)
        samples = np.concatenate(planes, axis=2) if layout.separate else planes[0]
        return to_colour(layout, samples, self._channels[level])

    def _indices(self, layout: TiffLevel, place: tuple[int, int]) -> list[int]:
        """Which tiles or strips, one a separate sample, hold a place of the grid."""
        columns, rows = layout.grid
        first = place[1] * columns + place[0]
        return [first + plane * columns * rows for plane in range(layout.samples if layout.separate else 1)]


def _pieces(start: int, length: int, step: int) -> Iterator[tuple[int, int, int]]:
    """The pieces that a grid cuts a line into: number of the cell, and the piece's begin and end within the cell."""
    for cell in range(start // step, (start + length - 1) // step + 1):
        yield cell, max(start - cell * step, 0), min(start + length - cell * step, step)
