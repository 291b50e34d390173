"""The base class of slides, and slides held in memory."""

import math
import os
from abc import ABC, abstractmethod
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.checks import check_colour, check_number, check_size, is_finite
from wsi_tiling.errors import SlideError
from wsi_tiling.glass import DEFAULT_BACKGROUND as DEFAULT_BACKGROUND
from wsi_tiling.glass import commonest_glass, is_glassy, measured_glass
from wsi_tiling.reading.mpp import StatedMpp
from wsi_tiling.region import MAX_BAND_PX, Colour, Image, as_pair, block_mean, check_image, resample

_SMALLEST_LEVEL_PX = 256
Bounds: TypeAlias = tuple[int, int, int, int]
"""Left, top, width, height, in level-0 pixels."""


class Slide(ABC):
    """An image with a pyramid of reduced levels, read by position and field of view.

    Positions (x, y) and sizes (width, height) whose names end in `_l0` are in pixels of level 0, the largest; fractions
    are exact. Slides are context managers and can be pickled; copies in other processes read on their own.

    Attributes:
        path: The file, or what an in-memory slide says it came from; None if it does not say.
        levels: Width and height of each level, largest first.
        mpp: Micrometres a level-0 pixel, None if unknown.
        notes: What of the file is not in the slide, or was taken in one of several senses; each a line to show.
    """

    path: Path | None
    levels: tuple[tuple[int, int], ...]
    mpp: float | None
    notes: tuple[str, ...] = ()
    _scanned: Bounds | None = None
    _no_mpp_reason: str | None = None

    @property
    def size_l0(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.levels[0]

    @property
    def size(self) -> tuple[int, int]:
        """The same as `size_l0`, under the name that readers of any image ask for, as `pfid` does."""
        return self.size_l0

    @property
    def bounds_l0(self) -> Bounds:
        """The scanned region: its upper left corner (x, y), its width and its height, level-0 pixels.

        It is all of level 0, unless the file states a part. Some scanners' canvas is the whole stage, most of it empty.
        Positions are those of the canvas all the same; tiles and whole-slide fields lie on this region.
        """
        return self._scanned or (0, 0, *self.size_l0)

    @cached_property
    def background(self) -> Colour:
        """Colour outside the slide: what the file states, else the commonest bright grey, else DEFAULT_BACKGROUND."""
        return self.stated_background or self._bright_colours[0] or DEFAULT_BACKGROUND

    @cached_property
    def glass(self) -> Colour:
        """Colour of bare glass, against which tissue is judged.

        It is measured on the slide. A slide that shows too little bare glass has that of its stated background, if this
        may be glass, else DEFAULT_BACKGROUND.
        """
        stated = self.stated_background
        fallback = stated if stated is not None and is_glassy(stated) else DEFAULT_BACKGROUND
        return self._bright_colours[1] or fallback

    @cached_property
    def _bright_colours(self) -> tuple[Colour | None, Colour | None]:
        """The commonest bright grey, and the colour of glass; None for each that the slide does not show."""
        pixels = self._sample()
        return commonest_glass(pixels), measured_glass(pixels)

    def require_mpp(self) -> float:
        """Micrometres a level-0 pixel.

        Raises:
            SlideError: The slide states no scale, or an implausible one.
        """
        if self.mpp is None:
            reason = self._no_mpp_reason or "does not say its scale"
            raise SlideError(f"{self.path or 'the picture'} {reason}: pass mpp, in micrometres a pixel")
        return self.mpp

    def read(
        self,
        xy_l0: tuple[float, float],
        field_l0: float | tuple[float, float],
        size_px: int | tuple[int, int],
    ) -> Image:
        """Reads a field of view into an image of any size, antialiased.

        Whole pixels of a level at their own size come back as they are. Anything else is taken from the coarsest level
        that is at least twice as fine as the image (or from level 0): interpolating a level at its own scale would
        blur the image, the more the further it lies between the level's pixels.

        Args:
            xy_l0: Upper left corner of the field (x, y), level-0 pixels; may lie anywhere.
            field_l0: Side, or width and height, of the field, level-0 pixels.
            size_px: Side, or width and height, of the image.

        Returns:
            (height, width, 3) uint8, background where the slide has no pixels.

        Raises:
            SlideError: The file cannot be read, or the field or the size is not positive.
        """
        (x, y), (width, height), size = xy_l0, as_pair(field_l0), as_pair(size_px)
        if not all(map(is_finite, (x, y, width, height))) or min(width, height) <= 0:
            raise SlideError(f"wanted a finite place and a positive, finite field, got {xy_l0} and {field_l0}")
        check_size(size)
        level = self._level_for(xy_l0, (width / size[0], height / size[1]))
        down_x, down_y = self._downsample(level)

        # The background may have to be estimated from pixels elsewhere: only what needs it asks for it.
        inside = min(x, y) >= 0 and x + width <= self.size_l0[0] and y + height <= self.size_l0[1]
        return resample(
            partial(self._window, level),
            self.levels[level],
            (self.size_l0[0] / down_x, self.size_l0[1] / down_y),
            (x / down_x, y / down_y, (x + width) / down_x, (y + height) / down_y),
            size,
            DEFAULT_BACKGROUND if inside else self.background,
        )

    def take_facts(self, other: "Slide") -> None:
        """Copies scale, scanned region and notes from the same slide, opened in another way."""
        self.mpp, self.notes, self._scanned, self._no_mpp_reason = (
            other.mpp,
            other.notes,
            other._scanned,
            other._no_mpp_reason,
        )

    def close(self) -> None:  # noqa: B027 - a slide in memory has nothing to close
        """Closes the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        """A window inside a level, in its own pixels: (H, W, 3), or (H, W, 4) with the opacity last."""

    def _window(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> Image:
        """A window inside a level; transparent pixels are laid on the background."""
        rows = max(1, MAX_BAND_PX // width_px)
        if height_px <= rows:
            return self._on_background(self._pixels(level, x_px, y_px, width_px, height_px))
        image = np.empty((height_px, width_px, 3), np.uint8)
        for top in range(0, height_px, rows):
            band = self._pixels(level, x_px, y_px + top, width_px, min(rows, height_px - top))
            image[top : top + rows] = self._on_background(band)
        return image

    def _on_background(self, pixels: NDArray[np.uint8]) -> Image:
        """Lays pixels that may be transparent on the background."""
        if pixels.shape[2] == 3 or pixels[..., 3].min() == 255:
            return pixels[..., :3]
        opacity = pixels[..., 3:].astype(np.float32) / 255
        return np.rint(pixels[..., :3] * opacity + np.asarray(self.background) * (1 - opacity)).astype(np.uint8)

    @property
    def stated_background(self) -> Colour | None:
        """The background that the file states, None if it does not."""
        return None

    def _downsample(self, level: int) -> tuple[float, float]:
        """Level-0 pixels a pixel of a level, in x and y."""
        pairs = zip(self.size_l0, self.levels[level], strict=True)
        across, down = (_ratio(length_l0, length) for length_l0, length in pairs)
        return across, down

    def _level_for(self, xy_l0: tuple[float, float], scale: tuple[float, float]) -> int:
        """The coarsest level that is twice as fine as `scale`, level-0 px a pixel, or that has just these pixels."""

        def fits(level: int) -> bool:
            down = self._downsample(level)
            if 2 * max(down) <= min(scale) * (1 + 1e-9):
                return True
            return scale == down and all((place / step).is_integer() for place, step in zip(xy_l0, down, strict=True))

        return max(filter(fits, range(len(self.levels))), default=0)

    def _set_scale(self, given: float | None, stated: StatedMpp) -> None:
        """Takes the scale that was given, or the one that the file states; notes what of that is not believed."""
        self.mpp = checked_mpp(given) or stated.mpp
        self._no_mpp_reason = stated.reason
        if stated.reason is not None:
            self.notes += (f"the file {stated.reason}: its scale is not taken",)

    def _bounds_of(self, level: int) -> Bounds:
        """The scanned region in whole pixels of a level, at least one."""
        spans = []
        for axis, down in enumerate(self._downsample(level)):
            begin, length = self.bounds_l0[axis], self.bounds_l0[axis + 2]
            first = min(int(begin / down), self.levels[level][axis] - 1)
            spans.append((first, max(first + 1, min(math.ceil((begin + length) / down), self.levels[level][axis]))))
        (left, right), (top, bottom) = spans
        return left, top, right - left, bottom - top

    def _sample(self) -> NDArray[np.uint8]:
        """Opaque pixels (N, 3) from windows spread over the scanned region at the coarsest level, a million at most."""
        level = len(self.levels) - 1
        left, top, width, height = self._bounds_of(level)
        side_x, side_y = min(width, 128), min(height, 128)
        # eight across and down, or as many as cover a small image
        xs = [left + int(x) for x in np.linspace(0, width - side_x, min(8, -(-width // side_x)))]
        ys = [top + int(y) for y in np.linspace(0, height - side_y, min(8, -(-height // side_y)))]
        windows = (self._pixels(level, x, y, side_x, side_y) for y in ys for x in xs)
        return np.concatenate([window[_opaque(window)][:, :3] for window in windows])


class ArraySlide(Slide):
    """An image in memory. Its reduced levels, each half the one before, are made when first read.

    Args:
        image: Level 0, (H, W, 3) uint8; kept, not copied.
        mpp: Micrometres a pixel, if known.
        background: Colour outside the image; estimated from it if not given.
        path: Where it came from, for messages and tables.

    Raises:
        SlideError: The image is not (H, W, 3) uint8, mpp is not positive, or the background is no colour.
    """

    def __init__(
        self,
        image: Image,
        mpp: float | None = None,
        background: Colour | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        try:
            check_image(image)
        except ValueError as error:
            raise SlideError(str(error)) from None
        self.path = None if path is None else Path(path)
        if background is not None:
            check_colour(background)
        self.mpp = checked_mpp(mpp)
        self._given_background = background
        self._images = {0: image}
        sizes = [(image.shape[1], image.shape[0])]
        while max(sizes[-1]) > _SMALLEST_LEVEL_PX:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        self.levels = tuple(sizes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_images": {0: self._images[0]}}

    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        return self._image(level)[y_px : y_px + height_px, x_px : x_px + width_px]

    def _image(self, level: int) -> Image:
        if level not in self._images:
            self._images[level] = _halved(self._image(level - 1))
        return self._images[level]

    @property
    def stated_background(self) -> Colour | None:
        """The background that was given, None if none was."""
        return self._given_background


def load_into_memory(slide: Slide) -> ArraySlide:
    """Copies level 0 of a slide into memory: many reads of a file that has one level only are faster from there.

    Raises:
        SlideError: The slide cannot be read.
    """
    width, height = slide.size_l0
    image = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, 1024):
        rows = min(1024, height - y)
        image[y : y + rows] = slide.read((0, y), (width, rows), (width, rows))
    copy = ArraySlide(image, background=slide.background, path=slide.path)
    copy.take_facts(slide)
    return copy


def checked_mpp(mpp: float | None) -> float | None:
    """The scale itself; SlideError if it is not a positive, finite number."""
    if mpp is not None:
        check_number("a positive number of micrometres a pixel", mpp, above=0)
    return mpp


def _halved(image: Image) -> Image:
    bands = [block_mean(image[y : y + 1024], (2, 2)) for y in range(0, len(image), 1024)]
    return np.concatenate(bands)


def _ratio(length_l0: int, length: int) -> float:
    """Level-0 pixels a pixel. Levels have whole sizes, rounded up or down: a whole factor that gives them is exact."""
    whole = round(length_l0 / length)
    if length in (length_l0 // whole, -(-length_l0 // whole)):
        return float(whole)
    return length_l0 / length


def _opaque(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if pixels.shape[2] == 3:
        return np.ones(pixels.shape[:2], np.bool_)
    return np.asarray(pixels[..., 3] == 255)
