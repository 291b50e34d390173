"""EXIF orientation: the way to turn an image upright."""

import struct

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 274
_SHORT = 3


def upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turns pixels (H, W, ...) as stored the way that an orientation from 1 to 8 asks for; the result is a view."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def valid_orientation(value: object) -> int:
    """The value itself if it is an orientation, 1 to 8; else 1, as viewers do."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_orientation(exif: bytes | None) -> int:
    """The orientation that EXIF data states; 1 if there are none, or if they are damaged."""
    data = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * number)
            if tag == _ORIENTATION and kind == _SHORT:
                return valid_orientation(value)
    except struct.error:
        pass
    return 1
