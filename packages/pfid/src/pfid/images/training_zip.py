"""Data sets in the zip form that StyleGAN3 trains on."""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from os import PathLike

import numpy as np
from PIL import Image as PillowImage

from pfid.errors import ImageError
from pfid.images.sources import Image, Images
from run_folder import whole_file

_COMPRESSION = 1
"""Of the PNGs: higher levels take much longer and save little."""


def middle_squares(images: Images, size_px: int) -> Iterator[Image]:
    """Returns the middle square of each image, resized to (size_px, size_px, 3), uint8.

    Raises:
        ImageError: Images are smaller than that; or, when they are read, unreadable.
    """
    small = [name for name, size in zip(images.names, images.sizes, strict=True) if min(size) < size_px]
    if small:
        raise ImageError(f"{len(small)} of {len(images)} images are smaller than {size_px} px, {small[0]} among them")
    return (_middle_square(pixels, size_px) for _, pixels in images.whole())


def _middle_square(pixels: Image, size_px: int) -> Image:
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = PillowImage.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((size_px, size_px), PillowImage.Resampling.LANCZOS))


def write_training_zip(path: str | PathLike[str], images: Iterable[Image]) -> int:
    """Writes square images, (S, S, 3) uint8, as PNG files with a dataset.json without labels; returns their number."""
    written = 0
    with whole_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for pixels in images:
            data = io.BytesIO()
            PillowImage.fromarray(pixels).save(data, "png", compress_level=_COMPRESSION)
            archive.writestr(f"{written // 1000:05d}/img{written:08d}.png", data.getvalue())
            written += 1
        archive.writestr("dataset.json", json.dumps({"labels": None}))
    return written
