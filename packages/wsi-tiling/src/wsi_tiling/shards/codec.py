"""Images and labels as PNG and JPEG files in memory."""

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_tiling.reading.labels import Labels
from wsi_tiling.region import Image

SUFFIXES = {"png": "png", "jpeg": "jpg"}
"""How the names of files of each format end."""


def encode_image(image: Image, picture_format: str, quality: int, compress: bool) -> bytes:
    """Codes an image; JPEG without subsampling of colours, which distinguish kinds of tissue."""
    if picture_format == "png":
        # Tissue is noise to deflate: more effort makes no smaller files, and other filters are slower to undo.
        level, by = (1, imagecodecs.PNG.FILTER.UP) if compress else (0, imagecodecs.PNG.FILTER.NONE)
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=level, filter=by))
    return bytes(
        imagecodecs.jpeg8_encode(image, level=quality, colorspace="RGB", outcolorspace="YCBCR", subsampling=(1, 1))
    )


def encode_labels(labels: Labels) -> bytes:
    """Codes labels of 8 or 16 bits as PNG, exactly."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(labels), level=6))


def decode(coded: bytes, name: str) -> NDArray[Any]:
    """The pixels of a file, by the end of its name: (H, W, 3) uint8, or (H, W) of uint8 or uint16 for labels.

    Raises:
        Exception: The file is damaged: whatever the decoder raises.
    """
    if name.endswith(".png"):
        return np.asarray(imagecodecs.png_decode(coded))
    return np.asarray(imagecodecs.jpeg8_decode(coded, outcolorspace="RGB"))
