"""Slides that OpenSlide reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
import PIL.Image
from numpy.typing import NDArray

from run_folder import first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.file_slide import FileSlide
from wsi_tiling.reading.formats.slide_format import OpenOptions, SlideFile, SlideFormat
from wsi_tiling.reading.mpp import StatedMpp, believable_mpp
from wsi_tiling.reading.slide import Bounds, checked_mpp
from wsi_tiling.reading.tiff.file import MAX_SEGMENT_PX
from wsi_tiling.region import Colour

_SUFFIXES = frozenset({".tif", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi"})
_OPAQUE = 0xFF000000
_BOUNDS = (
    openslide.PROPERTY_NAME_BOUNDS_X,
    openslide.PROPERTY_NAME_BOUNDS_Y,
    openslide.PROPERTY_NAME_BOUNDS_WIDTH,
    openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
)


class OpenSlideSlide(FileSlide[openslide.OpenSlide]):
    """A slide that OpenSlide reads. Made by `open_slide`.

    OpenSlide's handle reads no more after an error, so after one the file is opened again.
    """

    def __init__(self, path: Path, *, mpp: float | None, background: Colour | None, cache_mib: float) -> None:
        checked_mpp(mpp)
        super().__init__(path, background, cache_mib)
        self._set_scale(mpp, self._mpp_of_file)

    def _read_layout(self, opened: openslide.OpenSlide) -> None:
        # A handle that an error has spoilt does not give even these any more.
        properties = opened.properties
        self.levels = opened.level_dimensions
        self._factors = opened.level_downsamples
        self._file_background = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR)
        self._mpp_of_file = _stated_mpp(properties)
        self._scanned = _stated_bounds(properties, self.size_l0)
        for level in range(len(self.levels)):
            name = f"openslide.level[{level}].tile"
            width, height = (int(properties.get(f"{name}-{side}", 0)) for side in ("width", "height"))
            if width * height > MAX_SEGMENT_PX:
                raise SlideError(f"{self.path}: its tiles of {width} x {height} px are too large to be true")

    def _open(self) -> openslide.OpenSlide:
        try:
            handle = openslide.OpenSlide(self.path)
            handle.set_cache(openslide.OpenSlideCache(self.cache_bytes))
        except (OSError, openslide.OpenSlideError) as error:
            raise SlideError(f"{self.path} cannot be opened: {first_line(error)}") from error
        return handle

    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        handle = self._file()
        # OpenSlide takes level-0 positions. Where its factor is not whole, this is off by half a level-0 pixel at most.
        factor = self._factors[level]
        place = (round(x_px * factor), round(y_px * factor)), level, (width_px, height_px)
        try:
            return _without_opacity(handle.read_region(*place))
        except openslide.OpenSlideError:
            self._drop(handle)
        # Another thread's error may have spoilt the handle: only the answer of a handle of its own counts.
        handle = self._open()
        try:
            pixels = _without_opacity(handle.read_region(*place))
        except openslide.OpenSlideError as error:
            raise SlideError(f"{self.path} is damaged or cut short: {first_line(error)}") from error
        return pixels

    @property
    def stated_background(self) -> Colour | None:
        """The background that was given or that the file states, None if there is neither."""
        if self._given_background is not None:
            return self._given_background
        if self._file_background is None:
            return None
        red, green, blue = bytes.fromhex(self._file_background)
        return red, green, blue


def _stated_mpp(properties: Mapping[str, str]) -> StatedMpp:
    stated = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    try:
        return believable_mpp(float(value) for value in stated if value is not None)
    except ValueError:
        return StatedMpp(reason=f"states a scale that is no number, {' x '.join(map(str, stated))}")


def _stated_bounds(properties: Mapping[str, str], size_l0: tuple[int, int]) -> Bounds | None:
    """The part on the canvas of the scanned region that the file states; None if it states none."""
    try:
        x, y, width, height = (int(properties[name]) for name in _BOUNDS)
    except (KeyError, ValueError):
        return None
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, size_l0[0]), min(y + height, size_l0[1])
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _without_opacity(region: PIL.Image.Image) -> NDArray[np.uint8]:
    """OpenSlide's pixels, (H, W, 3) if all are opaque, else (H, W, 4)."""
    pixels = np.asarray(region)
    if pixels.view("<u4").min() < _OPAQUE:
        return pixels
    # Pillow drops the fourth byte several times as fast as a slice of the array does.
    return np.frombuffer(region.tobytes("raw", "RGB"), np.uint8).reshape(*pixels.shape[:2], 3)


def open_with_openslide(file: SlideFile, options: OpenOptions) -> OpenSlideSlide:
    """Opens a slide with OpenSlide, once its structure, if it is a TIFF file, has been checked.

    Raises:
        SlideError: The file is damaged, or OpenSlide cannot open it.
    """
    file.check_for_openslide()
    return OpenSlideSlide(file.path, mpp=options.mpp, background=options.background, cache_mib=options.cache_mib)


def _matches(file: SlideFile) -> bool:
    return file.vendor is not None


OPENSLIDE = SlideFormat(_SUFFIXES, _matches, open_with_openslide)
