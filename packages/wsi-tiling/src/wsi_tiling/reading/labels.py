"""Label images: whole numbers a pixel, such as masks of tissue classes or numbered nuclei. Never interpolated."""

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from image_files import ImageFileError, read_numbers
from wsi_tiling.errors import SlideError
from wsi_tiling.region import as_pair

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) of uint8 or uint16."""
MAX_LABELS_PX = 2**31
"""Label images are read into memory: larger ones are refused."""


def open_labels(path: str | os.PathLike[str]) -> Labels:
    """Reads a label image upright: PNG or TIFF, one channel of up to 16 bits, or a palette, whose indices are labels.

    Numbers come as they are stored, in whatever byte order, and whatever is black or white. Where they lie in a TIFF
    file uncompressed, the file is mapped into memory.

    Returns:
        (H, W) of uint8 or uint16.

    Raises:
        SlideError: The file is missing, damaged, too large, or of another kind.
    """
    try:
        labels = read_numbers(path, most_px=MAX_LABELS_PX, memory_map=True)
    except ImageFileError as error:
        raise SlideError(str(error)) from error
    if labels.dtype not in (np.uint8, np.uint16):
        raise SlideError(f"{path}: wanted labels of 8 or 16 bits, got {labels.dtype}: save them with fewer bits")
    return labels


def read_labels(
    labels: Labels, xy_l0: tuple[float, float], field_l0: float | tuple[float, float], size_px: int | tuple[int, int]
) -> Labels:
    """Reads a field of a label image at any size: each pixel takes the label at its centre.

    Args:
        labels: (H, W), of the same size as level 0 of the slide.
        xy_l0: Upper left corner of the field (x, y), level-0 pixels; may lie anywhere.
        field_l0: Side, or width and height, of the field.
        size_px: Side, or width and height, of the result.

    Returns:
        (height, width) of the labels' kind, 0 outside the image.
    """
    (width, height), (columns, rows) = as_pair(field_l0), as_pair(size_px)
    xs = np.floor(xy_l0[0] + (np.arange(columns) + 0.5) * width / columns).astype(np.int64)
    ys = np.floor(xy_l0[1] + (np.arange(rows) + 0.5) * height / rows).astype(np.int64)
    inside_x, inside_y = (xs >= 0) & (xs < labels.shape[1]), (ys >= 0) & (ys < labels.shape[0])
    field: Labels = np.zeros((rows, columns), labels.dtype)
    field[np.ix_(inside_y, inside_x)] = labels[np.ix_(ys[inside_y], xs[inside_x])]
    return field
