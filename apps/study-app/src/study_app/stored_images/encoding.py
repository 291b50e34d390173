"""Blind encoding: all pictures of a study have one size, one encoder, no metadata and files of one length."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from run_folder import UsageError

MEDIA_TYPE = "image/jpeg"
SUFFIX = ".jpg"
QUALITY = 95
BLOCK = 4096
"""Files are as long as the longest of them, up to a multiple of this."""


def to_square(pixels: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Brings a picture to the form in which readers see it: the middle square, at one size.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size_px: Side of the square.

    Returns:
        (size_px, size_px, 3); made smaller by Lanczos, never larger.

    Raises:
        UsageError: The picture is smaller: enlarged, it would give itself away.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side < size_px:
        raise UsageError(f"{width} x {height} px is smaller than the {size_px} px of the study")
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    if side == size_px:
        return square
    return np.asarray(PIL.Image.fromarray(square).resize((size_px, size_px), PIL.Image.Resampling.LANCZOS))


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Encodes pixels, (H, W, 3), as a JPEG file with nothing in it but the pixels; colours are not subsampled."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling="4:4:4", optimize=True)
    return file.getvalue()


def pad_alike(paths: Iterable[Path]) -> int:
    """Brings files to one length by zeros after the picture's end, which no decoder reads.

    Files that are padded already can be padded again, with longer ones.

    Returns:
        The length.
    """
    paths = list(paths)
    longest = max((path.stat().st_size for path in paths), default=0)
    length = -(-longest // BLOCK) * BLOCK
    for path in paths:
        if path.stat().st_size < length:
            os.truncate(path, length)
    return length
