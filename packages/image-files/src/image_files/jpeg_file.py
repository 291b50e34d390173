"""JPEG streams: their structure, and their pixels by Pillow."""

import io
import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from image_files.info import ImageInfo
from image_files.orientation import exif_orientation
from image_files.pillow_file import opened

MAX_SCANS = 100
"""Each scan decodes the whole image again; a normal file has about a dozen."""
_SOI, _EOI, _SOS, _APP1, _APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, _SOI, *range(0xD0, 0xD8)))
_MOST_GARBAGE = 2**16
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)


def read_header(file: BinaryIO) -> ImageInfo:
    """Reads a stream up to its first scan.

    Raises:
        ValueError: There is no frame header.
    """
    frame, exif, further = None, None, False
    file.seek(2)
    while (marker := _next_marker(file)) != _SOS:
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        if marker == _EOI or length < 0:
            break
        if marker in _FRAMES and frame is None:
            frame = file.read(length)
        elif marker == _APP1 and exif is None:
            content = file.read(length)
            exif = content if content.startswith(b"Exif\0\0") else None
        elif marker == _APP2:
            further |= file.read(length).startswith(b"MPF\0")
        else:
            file.seek(length, 1)
    if frame is None or len(frame) < 6:
        raise ValueError("no frame header")
    height, width, channels = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    problem = {1: None, 3: None, 4: "wanted RGB or grey, got CMYK; convert it to RGB first"}.get(
        channels, f"wanted RGB or grey, got {channels} channels; convert it to RGB first"
    )
    return ImageInfo(
        "JPEG",
        (width, height),
        white=2 ** frame[0] - 1,
        colours={1: "grey", 3: "RGB"}.get(channels),  # type: ignore[arg-type]
        orientation=exif_orientation(exif),
        further_pictures=further,
        problem=problem,
    )


def read_samples(file: BinaryIO) -> NDArray[np.uint8]:
    """Decodes the first image of a file, (H, W) or (H, W, 3) as stored; whatever follows it is not read."""
    file.seek(0)
    data = file.read()
    if data.count(bytes((0xFF, _SOS))) > MAX_SCANS:  # else there cannot be as many, and following them takes time
        check_scans(data)
    with opened(io.BytesIO(data), "JPEG") as picture:
        return np.asarray(picture)


def check_scans(data: bytes) -> bool:
    """Follows the structure of a stream up to the image's end; thumbnails and appended films do not count.

    Returns:
        Whether the image's end is there.

    Raises:
        ValueError: There are more than MAX_SCANS scans.
    """
    position, scans = 2, 0
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == _EOI:
            return True
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
        scans += marker == _SOS
        if scans > MAX_SCANS:
            raise ValueError(f"it has more than {MAX_SCANS} scans")
    return False


def _next_marker(file: BinaryIO) -> int:
    """The next marker's code; `_EOI` if there is none close by."""
    for _ in range(_MOST_GARBAGE):
        if file.read(1) == b"\xff":
            while (code := file.read(1)) == b"\xff":
                pass
            if code not in (b"", b"\0"):
                return code[0]
    return _EOI
