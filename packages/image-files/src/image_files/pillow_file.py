"""WebP and BMP files, read by Pillow."""

import threading
import warnings
from typing import BinaryIO

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from image_files.errors import RefusedKindError
from image_files.info import ImageInfo
from image_files.orientation import exif_orientation

_filters = threading.Lock()
_NAMES = {"WEBP": "WebP"}
_KINDS = {
    "1": ("grey", False),
    "L": ("grey", False),
    "P": ("palette", False),
    "RGB": ("RGB", False),
    "RGBX": ("RGB", False),
    "RGBA": ("RGB", True),
}


def opened(file: BinaryIO, *formats: str) -> PIL.Image.Image:
    """Opens an image of these formats; its pixels are decoded when they are asked for."""
    file.seek(0)
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images: their size is checked here; of damaged metadata
        return PIL.Image.open(file, formats=formats)


def read_header(file: BinaryIO, pillow_format: str) -> ImageInfo:
    """Reads the header of a file of this format of Pillow."""
    with opened(file, pillow_format) as picture:
        colours, alpha = _KINDS.get(picture.mode, (None, False))
        problem = None if colours else f"wanted RGB or grey, got {picture.mode}; convert it to RGB first"
        if getattr(picture, "n_frames", 1) > 1:
            problem = "it holds several images; save the wanted one as a file of its own"
        return ImageInfo(
            _NAMES.get(pillow_format, pillow_format),
            picture.size,
            colours=colours,  # type: ignore[arg-type]
            alpha=alpha,
            orientation=exif_orientation(picture.info.get("exif")),
            problem=problem,
        )


def read_samples(file: BinaryIO, pillow_format: str) -> NDArray[np.uint8]:
    """Decodes the colours of an image: (H, W) grey, or (H, W, 3 or 4)."""
    with opened(file, pillow_format) as picture:
        mode = {"1": "L", "P": "RGB", "RGBX": "RGB"}.get(picture.mode, picture.mode)
        return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def read_numbers(file: BinaryIO, pillow_format: str) -> NDArray[np.uint8]:
    """Decodes the numbers of an image, (H, W): grey values, or the indices into its palette.

    Raises:
        RefusedKindError: There are several channels.
    """
    with opened(file, pillow_format) as picture:
        if picture.mode not in ("1", "L", "P"):
            raise RefusedKindError(
                f"wanted label numbers, one channel, got {picture.mode}; save the numbers themselves"
            )
        return np.asarray(picture).astype(np.uint8, copy=False)
