"""PNG and JPEG files, read whole."""

import threading
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError, first_line
from wsi_tiling.region import Image
from wsi_tiling.slide import DEFAULT_BACKGROUND

MAX_PICTURE_PX = 2**27
"""Pictures are read into memory: larger ones (more than 384 MiB), such as decompression bombs, are refused."""
MAX_SCANS = 100
"""A JPEG file passes over its picture again with every scan: an honest one has a dozen."""
_filters = threading.Lock()


def read_picture(path: Path) -> Image:
    """Reads a PNG or JPEG file; what is transparent is laid on the default background.

    Raises:
        SlideError: It is too large, damaged, has more than 8 bits a channel, or is of another kind.
    """
    try:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = PIL.Image.open(path, formats=("PNG", "JPEG"))
        with picture:
            check_size(path, *picture.size)
            if picture.format == "JPEG" and path.read_bytes().count(b"\xff\xda") > MAX_SCANS:
                raise SlideError(f"{path} is damaged: it has more than {MAX_SCANS} scans")
            if picture.mode.startswith(("I", "F")):
                raise SlideError(f"{path}: wanted 8 bits a channel, got more: convert it first")
            clear = picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info
            mode = "RGBA" if clear else "RGB"
            return opaque_rgb(np.asarray(picture if picture.mode == mode else picture.convert(mode)))
    except SlideError:
        raise
    except PIL.UnidentifiedImageError:
        raise SlideError(f"{path} is not a PNG or JPEG file, or it is damaged") from None
    except PIL.Image.DecompressionBombError:
        raise SlideError(_too_large(path)) from None
    # A damaged file can trip Pillow anywhere.
    except Exception as error:
        raise SlideError(f"{path} is damaged or cut short: {first_line(error)}") from error


def opaque_rgb(pixels: NDArray[np.uint8]) -> Image:
    """Drops the opacity of (H, W, 4) pixels, laying what is transparent on the default background."""
    if pixels.shape[2] == 4:
        clear = pixels[..., 3] < 255
        opacity = pixels[clear][:, 3:] / 255
        colours = pixels[..., :3].copy()
        colours[clear] = np.rint(colours[clear] * opacity + np.asarray(DEFAULT_BACKGROUND) * (1 - opacity))
        return colours
    return np.ascontiguousarray(pixels)


def check_size(path: Path, width: int, height: int) -> None:
    """Raises SlideError if a picture is too large to be held in memory."""
    if width * height > MAX_PICTURE_PX:
        raise SlideError(_too_large(path, f"{width} x {height} px"))


def _too_large(path: Path, size: str = "far more") -> str:
    limit = MAX_PICTURE_PX // 10**6
    return f"{path}: wanted a picture of at most {limit} million px, got {size}: convert it to a tiled pyramid first"
