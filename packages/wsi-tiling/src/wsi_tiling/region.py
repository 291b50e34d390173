"""Exact, antialiased resampling of any box of an image, inside it or out.

An image lies in an endless plane of one fill colour. An output pixel is the image's colour, weighted with the share
of the pixel that the image covers, plus the fill colour for the rest: the fill never bleeds into pixels that lie
wholly inside. Every output pixel depends on its own place and on the scale alone, so boxes that adjoin give, side by
side, the same pixels as one box over both.

The filter is linear interpolation when enlarging and Pillow's HAMMING when reducing, whose window is two output pixels
wide: it keeps nearly the contrast of an area mean, where a triangle of that width blurs. Its weights move continuously
with the position, so a box can lie at any fraction of a pixel; a BOX filter rounds each source pixel in or out. Where
one output pixel is as wide as eight source pixels or more, whole blocks of these are averaged first, so that at least
four blocks are left to an output pixel: fast, and of bounded memory.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from wsi_tiling.checks import check_size, is_finite

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) 8-bit RGB."""
Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
Number = TypeVar("Number", int, float)

ReadWindow: TypeAlias = Callable[[int, int, int, int], Image]
"""Called with x, y, width, height in whole source pixels, inside the source; gives (height, width, 3)."""

MAX_BAND_PX = 2**24
"""Blocks are averaged in bands of about this many source pixels (48 MiB)."""
_REDUCE_FROM = 8
_BLOCKS_LEFT = 4


def read_region(
    image: Image, box: tuple[float, float, float, float], size_px: int | tuple[int, int], fill: Colour
) -> Image:
    """Resamples a box of an image; what lies outside the image takes the fill colour.

    A box of whole pixels read at its own size comes back as it is.

    Args:
        image: The image, (H, W, 3) uint8.
        box: x0, y0, x1, y1 in pixels of the image, fractions allowed; may lie anywhere.
        size_px: Side, or width and height, of the result.
        fill: Colour outside the image.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: The image is not (H, W, 3) uint8, the box is empty or not finite, or a size is not positive.
    """
    check_image(image)
    check_size(as_pair(size_px))
    if not all(map(is_finite, box)):
        raise ValueError(f"wanted a box of finite numbers, got {box}")

    def window(x: int, y: int, width: int, height: int) -> Image:
        return image[y : y + height, x : x + width]

    height, width = image.shape[:2]
    return resample(window, (width, height), (float(width), float(height)), box, as_pair(size_px), fill)


def check_image(image: Image) -> None:
    """Raises ValueError unless the image is (H, W, 3) uint8 and not empty."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"wanted an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}")


def as_pair(value: Number | tuple[Number, Number]) -> tuple[Number, Number]:
    """Width and height of a square given by its side, or the pair itself."""
    return value if isinstance(value, tuple) else (value, value)


def block_mean(image: Image, block_px: tuple[int, int]) -> Image:
    """Averages blocks of (width, height) pixels; blocks cut by the right or lower edge average what they have."""
    if block_px == (1, 1):
        return image
    height, width = image.shape[:2]
    return np.asarray(PIL.Image.fromarray(image).reduce((min(block_px[0], width), min(block_px[1], height))))


def resample(
    read_window: ReadWindow,
    source_px: tuple[int, int],
    extent: tuple[float, float],
    box: tuple[float, float, float, float],
    size_px: tuple[int, int],
    fill: Colour,
) -> Image:
    """Resamples a box of a source that is read window by window; see the module for the exact meaning.

    Args:
        read_window: Reads whole pixels of the source.
        source_px: Width and height of the source.
        extent: True width and height of the image, in source pixels: for a reduced level they may not be whole.
        box: x0, y0, x1, y1 in source pixels.
        size_px: Width and height of the result.
        fill: Colour outside the extent.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: The box is empty or not finite.
    """
    if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"wanted a box with x0 < x1 and y0 < y1, got {box}")
    result = np.empty((size_px[1], size_px[0], 3), np.uint8)
    spans = [_whole(*axis) for axis in zip(box[:2], box[2:], size_px, source_px, extent, strict=True)]
    if spans[0] is not None and spans[1] is not None:
        (left, right), (top, bottom) = spans[0], spans[1]
        if (right - left, bottom - top) != size_px:
            result[:] = fill
        if left < right and top < bottom:
            x, y = round(box[0]), round(box[1])
            result[top - y : bottom - y, left - x : right - x] = read_window(left, top, right - left, bottom - top)
        return result
    across = _Axis.plan(box[0], box[2], size_px[0], source_px[0], extent[0])
    down = _Axis.plan(box[1], box[3], size_px[1], source_px[1], extent[1])
    if across is None or down is None:
        result[:] = fill
        return result

    window = _read_blocks(read_window, across, down)
    pad_x, pad_y = across.padding(window.shape[1]), down.padding(window.shape[0])
    if any(pad_x + pad_y):
        window = np.pad(window, (pad_y, pad_x, (0, 0)), mode="edge")
    x0, x1 = across.shifted(pad_x[0], window.shape[1])
    y0, y1 = down.shifted(pad_y[0], window.shape[0])
    inside_px = (across.last - across.first, down.last - down.first)
    reduces = (x1 - x0) * (y1 - y0) > inside_px[0] * inside_px[1]
    picture = PIL.Image.fromarray(np.ascontiguousarray(window)).resize(
        inside_px,
        PIL.Image.Resampling.HAMMING if reduces else PIL.Image.Resampling.BILINEAR,
        box=(x0, y0, x1, y1),
    )
    inside = _over_fill(np.array(picture), down.cover, across.cover, fill)
    if inside_px == size_px:
        return inside
    result[:] = fill
    result[down.first : down.last, across.first : across.last] = inside
    return result


def _over_fill(image: Image, down: NDArray[np.float64], across: NDArray[np.float64], fill: Colour) -> Image:
    """Mixes the fill colour, in place, into the rows and columns that an image covers in part: those at its edges."""
    rows, cols = np.flatnonzero(down < 1), np.flatnonzero(across < 1)
    if not len(rows) and not len(cols):
        return image
    for part in (np.ix_(rows, np.arange(len(across))), np.ix_(np.flatnonzero(down == 1), cols)):
        covered = (down[part[0]] * across[part[1]])[..., None]
        image[part] = np.rint(image[part] * covered + np.asarray(fill) * (1 - covered))
    return image


def _whole(begin: float, end: float, count: int, source: int, extent: float) -> tuple[int, int] | None:
    """The source pixels in one side of a box, where it is of whole pixels at their own size; None if it is not."""
    if end - begin != count or begin != math.floor(begin) or (extent != source and end > math.floor(extent)):
        return None
    first, last = max(0, int(begin)), min(source, int(end))
    return first, max(first, last)


@dataclass(frozen=True)
class _Axis:
    """One axis of a box: output pixels first:last touch the image, source pixels start:stop contribute to them."""

    first: int
    last: int
    start: int
    stop: int
    block: int
    low: float
    """Where output pixel `first` begins, in blocks from `start`."""
    high: float
    """Where output pixel `last - 1` ends, in blocks from `start`."""
    cover: NDArray[np.float64]
    """Share of each touching output pixel that the image covers."""

    @classmethod
    def plan(cls, begin: float, end: float, count: int, source: int, extent: float) -> "_Axis | None":
        """Plans one axis; None if the box misses the image."""
        scale = (end - begin) / count
        first = min(max(math.floor(-begin / scale), 0), count)
        last = min(max(math.ceil((extent - begin) / scale), 0), count)
        if first >= last:
            return None
        # The rounding guards against a scale of 11.999... for one box and 12.0 for its neighbour.
        block = int(round(scale / _BLOCKS_LEFT, 9)) if scale >= _REDUCE_FROM - 1e-9 else 1
        edges = begin + scale * np.arange(first, last + 1)
        cover = np.clip((np.minimum(edges[1:], extent) - np.maximum(edges[:-1], 0)) / scale, 0, 1)
        cover[cover > 1 - 1e-6] = 1
        # The triangle reaches half an output pixel past the pixels at the ends, or one source pixel if that is more.
        margin = max(scale, 1.0) + block
        start = min(max(math.floor((edges[0] - margin) / block), 0) * block, (source - 1) // block * block)
        stop = min(max(math.ceil((edges[-1] + margin) / block) * block, start + 1), source)
        low, high = float(edges[0] - start) / block, float(edges[-1] - start) / block
        return cls(first, last, start, stop, block, low, high, cover)

    def padding(self, length: int) -> tuple[int, int]:
        """Blocks to add before and after a window of `length` blocks so that the box lies inside: a few at most."""
        return max(0, math.ceil(-self.low)), max(0, math.ceil(self.high - length))

    def shifted(self, before: int, length: int) -> tuple[float, float]:
        """The box in a window padded with `before` blocks to `length` in all."""
        return max(self.low + before, 0.0), min(self.high + before, float(length))


def _read_blocks(read_window: ReadWindow, across: _Axis, down: _Axis) -> Image:
    """Reads the window that both axes ask for, its blocks averaged, in bands of bounded size."""
    width, height = across.stop - across.start, down.stop - down.start
    blocks = (across.block, down.block)
    if blocks == (1, 1):
        return read_window(across.start, down.start, width, height)
    rows = max(1, MAX_BAND_PX // width // down.block) * down.block
    bands = [
        block_mean(read_window(across.start, y, width, min(rows, down.stop - y)), blocks)
        for y in range(down.start, down.stop, rows)
    ]
    return np.concatenate(bands)
