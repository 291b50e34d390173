"""Opening slides: OpenSlide's formats, and plain TIFF, PNG and JPEG pictures."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import PIL.Image
import tifffile
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError
from wsi_tiling.region import Colour, Image
from wsi_tiling.slide import DEFAULT_BACKGROUND, ArraySlide, Slide, checked_mpp

MAX_PICTURE_PX = 2**27
"""Pictures are read into memory: larger ones (more than 384 MiB), such as decompression bombs, are refused."""
_COARSEST_MPP = 20.0
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_TIFF_SUFFIXES = (".tif", ".tiff")
_abandoned_handles: list[openslide.OpenSlide] = []


def open_slide(path: str | Path, *, mpp: float | None = None, background: Colour | None = None) -> Slide:
    """Opens a slide or a picture.

    OpenSlide reads what it can. Other files named .tif, .png or .jpg are read into memory. A stated resolution coarser
    than 20 micrometres a pixel is that of a printer or a screen and is not believed.

    Args:
        path: The file.
        mpp: Micrometres a level-0 pixel, in place of what the file says.
        background: Colour outside the slide, in place of the file's or an estimate.

    Raises:
        SlideError: The file is missing, damaged, too large a picture, or of no known kind; or mpp is not positive.
    """
    path = Path(path)
    checked_mpp(mpp)
    if not path.is_file():
        raise SlideError(f"{path}: no such file")
    try:
        if openslide.OpenSlide.detect_format(path) is not None:
            return OpenSlideSlide(path, mpp=mpp, background=background)
    except (OSError, openslide.OpenSlideError) as error:
        raise SlideError(f"{path} cannot be read: {_first_line(error)}") from error
    # A damaged slide may still hold a picture, a thumbnail even, so the name has to say that it is one.
    suffix = path.suffix.lower()
    if suffix in _TIFF_SUFFIXES:
        image, stated_mpp = _read_tiff(path)
    elif suffix in _PICTURE_SUFFIXES:
        image, stated_mpp = _read_picture(path), None
    else:
        raise SlideError(f"{path} is not a slide that OpenSlide knows, nor a TIFF, PNG or JPEG file, or it is damaged")
    return ArraySlide(image, mpp=mpp or stated_mpp, background=background, path=path)


class OpenSlideSlide(Slide):
    """A slide that OpenSlide reads. Made by `open_slide`.

    Each process opens the file anew. OpenSlide reads no more after an error, so after one the file is opened again.
    """

    def __init__(self, path: Path, *, mpp: float | None = None, background: Colour | None = None) -> None:
        self.path: Path = path
        self._given_background = background
        self._handle: openslide.OpenSlide | None = None
        self._handle_pid = 0
        self._closed = False
        handle = self._open()
        self.levels = handle.level_dimensions
        self.mpp = checked_mpp(mpp) or _stated_mpp(handle.properties)

    def close(self) -> None:
        """Closes the file; reading then raises SlideError."""
        self._closed = True
        self._drop()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def _open(self) -> openslide.OpenSlide:
        if self._closed:
            raise SlideError(f"{self.path} is closed: open it again")
        if self._handle is not None and self._handle_pid != os.getpid():
            # After a fork the file position and the locks are the parent's: neither use this handle nor close it.
            _abandoned_handles.append(self._handle)
            self._handle = None
        if self._handle is None:
            try:
                self._handle = openslide.OpenSlide(self.path)
            except (OSError, openslide.OpenSlideError) as error:
                raise SlideError(f"{self.path} cannot be opened: {_first_line(error)}") from error
            self._handle_pid = os.getpid()
        return self._handle

    def _drop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and self._handle_pid == os.getpid():
            handle.close()

    def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        handle = self._open()
        # OpenSlide takes level-0 positions. Where its factor is not whole, this is off by half a level-0 pixel at most.
        factor = handle.level_downsamples[level]
        corner_l0 = (round(x_px * factor), round(y_px * factor))
        try:
            return np.asarray(handle.read_region(corner_l0, level, (width_px, height_px)))
        except openslide.OpenSlideError as error:
            self._drop()
            raise SlideError(f"{self.path} is damaged or cut short: {_first_line(error)}") from error

    def _stated_background(self) -> Colour | None:
        if self._given_background is not None:
            return self._given_background
        stated = self._open().properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR)
        if stated is None:
            return None
        red, green, blue = bytes.fromhex(stated)
        return red, green, blue


def _stated_mpp(properties: Any) -> float | None:
    values = [properties.get(openslide.PROPERTY_NAME_MPP_X), properties.get(openslide.PROPERTY_NAME_MPP_Y)]
    return _believable_mpp([float(value) for value in values if value is not None])


def _believable_mpp(values: list[float]) -> float | None:
    """The mean of x and y, None if there is none or it is no microscope's."""
    mean = sum(values) / len(values) if values else 0.0
    return mean if 0 < mean <= _COARSEST_MPP else None


def _read_picture(path: Path) -> Image:
    """Reads a PNG or JPEG file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(path, formats=("PNG", "JPEG"))
        with picture:
            _check_size(path, *picture.size)
            if picture.mode.startswith(("I", "F")):
                raise SlideError(f"{path}: wanted 8 bits a channel, got more: convert it first")
            rgba = np.asarray(picture.convert("RGBA"))
    except PIL.UnidentifiedImageError:
        raise SlideError(f"{path} is not a PNG or JPEG file, or it is damaged") from None
    except PIL.Image.DecompressionBombError:
        raise SlideError(_too_large(path)) from None
    except (OSError, SyntaxError) as error:
        raise SlideError(f"{path} is damaged or cut short: {_first_line(error)}") from error
    return _opaque_rgb(rgba)


def _read_tiff(path: Path) -> tuple[Image, float | None]:
    """Reads the first page of a TIFF file that OpenSlide does not know."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            _check_size(path, page.imagewidth, page.imagelength)
            if page.dtype != np.uint8:
                raise SlideError(f"{path}: wanted 8 bits a channel, got {page.dtype}: convert it first")
            if any(offset + count > tiff.filehandle.size for offset, count in _segments(page)):
                raise SlideError(f"{path} is cut short")
            pixels = page.asrgb() if page.photometric == tifffile.PHOTOMETRIC.PALETTE else page.asarray()
            per_cm = page.get_resolution(tifffile.RESUNIT.CENTIMETER) if page.resolutionunit > 1 else ()
    except SlideError:
        raise
    # A damaged TIFF file can trip tifffile and its decoders anywhere.
    except Exception as error:
        raise SlideError(f"{path} cannot be read: {_first_line(error)}") from error
    if pixels.ndim == 3 and pixels.shape[0] in (3, 4) and pixels.shape[2] > 4:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise SlideError(f"{path}: wanted a grey or colour picture, got an array of shape {pixels.shape}")
    return _opaque_rgb(pixels), _believable_mpp([1e4 / value for value in per_cm if value > 0])


def _segments(page: Any) -> list[tuple[int, int]]:
    return list(zip(page.dataoffsets, page.databytecounts, strict=True))


def _opaque_rgb(pixels: NDArray[np.uint8]) -> Image:
    """Drops the opacity of (H, W, 4) pixels, laying what is transparent on the default background."""
    if pixels.shape[2] == 4:
        clear = pixels[..., 3] < 255
        opacity = pixels[clear][:, 3:] / 255
        colours = pixels[..., :3].copy()
        colours[clear] = np.rint(colours[clear] * opacity + np.asarray(DEFAULT_BACKGROUND) * (1 - opacity))
        return colours
    return np.ascontiguousarray(pixels)


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PICTURE_PX:
        raise SlideError(_too_large(path, f"{width} x {height} px"))


def _too_large(path: Path, size: str = "far more") -> str:
    limit = MAX_PICTURE_PX // 10**6
    return f"{path}: wanted a picture of at most {limit} million px, got {size}: convert it to a tiled pyramid first"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
