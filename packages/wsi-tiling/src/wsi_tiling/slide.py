"""What every slide can do, and slides held in memory."""

import math
from abc import ABC, abstractmethod
from functools import cached_property, partial, reduce
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError
from wsi_tiling.region import MAX_BAND_PX, Colour, Image, as_pair, block_mean, check_image, resample

DEFAULT_BACKGROUND: Colour = (242, 243, 242)
"""Glass under a scanner's lamp: taken where a slide shows no background of its own."""
_SMALLEST_LEVEL_PX = 256
_COARSEST_MPP = 20.0


class Slide(ABC):
    """A picture with a pyramid of reduced levels, read by position and field of view.

    Positions (x, y) and sizes (width, height) whose names end in `_l0` are in pixels of level 0, the largest; fractions
    are exact. Slides are context managers and can be pickled; copies in other processes read on their own.

    Attributes:
        path: The file, or what an in-memory slide says it came from; None if it does not say.
        levels: Width and height of each level, largest first.
        mpp: Micrometres a level-0 pixel, None if unknown.
    """

    path: Path | None
    levels: tuple[tuple[int, int], ...]
    mpp: float | None

    @property
    def size_l0(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.levels[0]

    @property
    def size(self) -> tuple[int, int]:
        """The same as `size_l0`, under the name that readers of any image ask for, as `pfid` does."""
        return self.size_l0

    @cached_property
    def background(self) -> Colour:
        """Colour of the bare glass: what the file states, else the commonest bright grey, else DEFAULT_BACKGROUND."""
        return self.stated_background or _commonest_glass(self._sample()) or DEFAULT_BACKGROUND

    def require_mpp(self) -> float:
        """Micrometres a level-0 pixel.

        Raises:
            SlideError: The slide does not say.
        """
        if self.mpp is None:
            raise SlideError(f"{self.path or 'the picture'} does not say its scale: pass mpp, in micrometres a pixel")
        return self.mpp

    def read(
        self,
        xy_l0: tuple[float, float],
        field_l0: float | tuple[float, float],
        size_px: int | tuple[int, int],
    ) -> Image:
        """Reads a field of view into a picture of any size, antialiased.

        Whole pixels of a level at their own size come back as they are. Anything else is taken from the coarsest level
        that is at least twice as fine as the picture (or from level 0): interpolating a level at its own scale would
        blur the picture, the more the further it lies between the level's pixels.

        Args:
            xy_l0: Upper left corner of the field (x, y), level-0 pixels; may lie anywhere.
            field_l0: Side, or width and height, of the field, level-0 pixels.
            size_px: Side, or width and height, of the picture.

        Returns:
            (height, width, 3) uint8, background where the slide has no pixels.

        Raises:
            SlideError: The file cannot be read, or the field or the size is not positive.
        """
        (x, y), (width, height), size = xy_l0, as_pair(field_l0), as_pair(size_px)
        if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0 or min(size) < 1:
            raise SlideError(f"wanted a finite place, a positive field and size, got {xy_l0}, {field_l0}, {size_px}")
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

    def close(self) -> None:  # noqa: B027 - a slide in memory has nothing to let go of
        """Lets go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        """A window inside a level, in its own pixels: (H, W, 3), or (H, W, 4) with the opacity last."""

    def _window(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> Image:
        """A window inside a level, what is transparent laid on the background."""
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

    def _sample(self) -> NDArray[np.uint8]:
        """Opaque pixels (N, 3) from windows spread over the coarsest level: a million at most, however large it is."""
        level = len(self.levels) - 1
        width, height = self.levels[level]
        side_x, side_y = min(width, 128), min(height, 128)
        # eight across and down, or as many as cover a small picture
        xs = [int(x) for x in np.linspace(0, width - side_x, min(8, -(-width // side_x)))]
        ys = [int(y) for y in np.linspace(0, height - side_y, min(8, -(-height // side_y)))]
        windows = (self._pixels(level, x, y, side_x, side_y) for y in ys for x in xs)
        return np.concatenate([window[_opaque(window)][:, :3] for window in windows])


class ArraySlide(Slide):
    """A picture in memory. Its reduced levels, each half the one before, are made when first read.

    Args:
        image: Level 0, (H, W, 3) uint8; kept, not copied.
        mpp: Micrometres a pixel, if known.
        background: Colour outside the picture; estimated from it if not given.
        path: Where it came from, for messages and tables.

    Raises:
        SlideError: The picture is not (H, W, 3) uint8, or mpp is not positive.
    """

    def __init__(
        self,
        image: Image,
        mpp: float | None = None,
        background: Colour | None = None,
        path: str | Path | None = None,
    ) -> None:
        try:
            check_image(image)
        except ValueError as error:
            raise SlideError(str(error)) from None
        self.path = None if path is None else Path(path)
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
    return ArraySlide(image, mpp=slide.mpp, background=slide.background, path=slide.path)


def checked_mpp(mpp: float | None) -> float | None:
    """The scale itself; SlideError if it is not a positive number."""
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise SlideError(f"wanted a positive number of micrometres a pixel, got {mpp}")
    return mpp


def believable_mpp(values: list[float]) -> float | None:
    """The mean of what a file states across and down; None if there is none or it is no microscope's."""
    mean = sum(values) / len(values) if values else 0.0
    return mean if 0 < mean <= _COARSEST_MPP else None


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


def _commonest_glass(pixels: NDArray[np.uint8]) -> Colour | None:
    """The commonest colour, to four grey levels, of bright pixels without much colour; None if they are rare."""
    low, high = (reduce(extreme, pixels.T) for extreme in (np.minimum, np.maximum))  # fast, as along axis 1 it is not
    glass = pixels[(low >= 200) & (high - low <= 20)]
    if len(glass) < 0.01 * len(pixels) or not len(glass):
        return None
    bins = glass.astype(np.int64) // 4 @ np.array([4096, 64, 1])
    values, counts = np.unique(bins, return_counts=True)
    red, green, blue = np.median(glass[bins == values[counts.argmax()]], axis=0)
    return int(red), int(green), int(blue)
