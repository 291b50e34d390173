"""Label pictures: whole numbers a pixel, such as masks of tissue classes or numbered nuclei. Never interpolated."""

import io
import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError, first_line
from wsi_tiling.region import as_pair

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) of uint8 or uint16."""
MAX_LABELS_PX = 2**31
"""Label pictures are read into memory: larger ones are refused."""


def open_labels(path: str | Path) -> Labels:
    """Reads a label picture: PNG or TIFF, one channel of 8 or 16 bits, or a palette, whose indices are the labels.

    Returns:
        (H, W) of uint8 or uint16.

    Raises:
        SlideError: The file is missing, damaged, too large, or of another kind.
    """
    path = Path(path)
    try:
        labels = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_png(path)
    except SlideError:
        raise
    except FileNotFoundError:
        raise SlideError(f"{path}: no such file") from None
    # A damaged file can trip the decoders anywhere.
    except Exception as error:
        raise SlideError(f"{path} is no label picture, or it is damaged: {first_line(error)}") from error
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise SlideError(f"{path}: wanted labels, one channel of 8 or 16 bits, got {labels.shape} of {labels.dtype}")
    return labels


def read_labels(
    labels: Labels, xy_l0: tuple[float, float], field_l0: float | tuple[float, float], size_px: int | tuple[int, int]
) -> Labels:
    """Reads a field of a label picture at any size: each pixel takes the label at its centre.

    Args:
        labels: (H, W), of the same size as level 0 of the slide.
        xy_l0: Upper left corner of the field (x, y), level-0 pixels; may lie anywhere.
        field_l0: Side, or width and height, of the field.
        size_px: Side, or width and height, of the result.

    Returns:
        (height, width) of the labels' kind, 0 outside the picture.
    """
    (width, height), (columns, rows) = as_pair(field_l0), as_pair(size_px)
    xs = np.floor(xy_l0[0] + (np.arange(columns) + 0.5) * width / columns).astype(np.int64)
    ys = np.floor(xy_l0[1] + (np.arange(rows) + 0.5) * height / rows).astype(np.int64)
    inside_x, inside_y = (xs >= 0) & (xs < labels.shape[1]), (ys >= 0) & (ys < labels.shape[0])
    field: Labels = np.zeros((rows, columns), labels.dtype)
    field[np.ix_(inside_y, inside_x)] = labels[np.ix_(ys[inside_y], xs[inside_x])]
    return field


def _read_tiff(path: Path) -> Labels:
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        _check_size(path, page.imagewidth, page.imagelength)
        if page.is_memmappable:
            return tifffile.memmap(path, page=0, mode="r")
        return np.asarray(page.asarray())


def _read_png(path: Path) -> Labels:
    data = path.read_bytes()
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    if not data.startswith(b"\x89PNG\r\n"):
        raise SlideError(f"{path} is neither a PNG nor a TIFF file")
    _check_size(path, width, height)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            labels = np.asarray(picture)
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_LABELS_PX:
        raise SlideError(f"{path}: wanted at most {MAX_LABELS_PX / 1e9:.1f} billion px, got {width} x {height} px")
