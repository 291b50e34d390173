"""PNG and JPEG files, read whole."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image_files import ImageFileError, describe, read_rgb
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.formats.slide_format import OpenOptions, SlideFile, SlideFormat
from wsi_tiling.reading.slide import DEFAULT_BACKGROUND, ArraySlide, Slide
from wsi_tiling.region import Image

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
MAX_IMAGE_PX = 2**27
"""Images are read into memory: larger ones (more than 384 MiB), such as decompression bombs, are refused."""


def read_image(path: Path) -> Image:
    """Reads a PNG or JPEG file upright; transparent pixels are laid on the default background.

    Raises:
        SlideError: It is too large, damaged, has more than 8 bits a channel, or is of another kind.
    """
    try:
        check_size(path, *describe(path, most_px=sys.maxsize).size_px)
        return read_rgb(path, background=DEFAULT_BACKGROUND, most_px=MAX_IMAGE_PX)
    except ImageFileError as error:
        raise SlideError(str(error)) from error


def opaque_rgb(pixels: NDArray[np.uint8]) -> Image:
    """Lays transparent pixels of (H, W, 4) on the default background and drops the opacity."""
    if pixels.shape[2] == 4:
        clear = pixels[..., 3] < 255
        opacity = pixels[clear][:, 3:] / 255
        colours = pixels[..., :3].copy()
        colours[clear] = np.rint(colours[clear] * opacity + np.asarray(DEFAULT_BACKGROUND) * (1 - opacity))
        return colours
    return np.ascontiguousarray(pixels)


def check_size(path: Path, width: int, height: int) -> None:
    """Raises SlideError if an image is too large to be held in memory."""
    if width * height > MAX_IMAGE_PX:
        limit = MAX_IMAGE_PX // 10**6
        raise SlideError(
            f"{path}: wanted an image of at most {limit} million px, got {width} x {height} px: convert it to a tiled "
            "pyramid first"
        )


def _matches(file: SlideFile) -> bool:
    # A damaged slide may still hold an image, a thumbnail even, so the name has to say that it is an image.
    return file.vendor is None and file.suffix in _SUFFIXES


def _open(file: SlideFile, options: OpenOptions) -> Slide:
    return ArraySlide(read_image(file.path), mpp=options.mpp, background=options.background, path=file.path)


IMAGE = SlideFormat(_SUFFIXES, _matches, _open)
