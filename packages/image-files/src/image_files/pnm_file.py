"""PBM, PGM and PPM files: samples exactly as stored."""

import os
import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from image_files.errors import RefusedKindError
from image_files.info import ImageInfo

_GAP = rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P(?:([14])%b(\d{1,9})%b(\d{1,9})|([2356])%b(\d{1,9})%b(\d{1,9})%b(\d{1,5}))\s" % ((_GAP,) * 5))
_MOST_HEADER = 2**12


def read_header(file: BinaryIO) -> ImageInfo:
    """Reads the header of a file.

    Raises:
        ValueError: It has none.
    """
    kind, width, height, white, start = _header(file)
    file.seek(start + _data_bytes(kind, width, height, white))
    several = kind >= 4 and re.fullmatch(rb"P[1-6]", file.read(2)) is not None
    return ImageInfo(
        "PNM",
        (width, height),
        white=white,
        colours="RGB" if kind in (3, 6) else "grey",
        problem="it holds several images; save the wanted one as a file of its own" if several else None,
    )


def read_samples(file: BinaryIO) -> NDArray[Any]:
    """Decodes the colours: (H, W) grey or (H, W, 3), from 0 to white."""
    kind, _, _, white, _ = _header(file)
    samples = _stored(file)
    return white - samples if kind in (1, 4) else samples


def read_numbers(file: BinaryIO) -> NDArray[Any]:
    """Decodes the numbers as stored, (H, W); in a bitmap, 1 is black.

    Raises:
        RefusedKindError: There are several channels.
    """
    samples = _stored(file)
    if samples.ndim != 2:
        raise RefusedKindError("wanted label numbers, one channel, got RGB; save the numbers themselves")
    return samples


def _header(file: BinaryIO) -> tuple[int, int, int, int, int]:
    """The kind from 1 to 6, width, height, value of white, and where the data begin."""
    file.seek(0)
    match = _HEADER.match(file.read(_MOST_HEADER))
    if match is None:
        raise ValueError("no valid header")
    bit_kind, bit_width, bit_height, kind, width, height, white = match.groups()
    header = tuple(map(int, (bit_kind or kind, bit_width or width, bit_height or height, white or 1)))
    if not 1 <= header[3] <= 65535:
        raise ValueError(f"{header[3]} as the value of white")
    return header[0], header[1], header[2], header[3], match.end()


def _data_bytes(kind: int, width: int, height: int, white: int) -> int:
    if kind == 4:
        return height * -(-width // 8)
    return height * width * (3 if kind == 6 else 1) * (1 if white < 256 else 2)


def _stored(file: BinaryIO) -> NDArray[Any]:
    kind, width, height, white, start = _header(file)
    dtype = np.uint8 if white < 256 else np.uint16
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    wanted = _data_bytes(kind, width, height, white)
    file.seek(start)
    if kind <= 3:
        samples: NDArray[Any] = _plain(file.read(), digits=kind == 1)[: int(np.prod(shape))]
    else:
        if file.seek(0, os.SEEK_END) < start + wanted:
            raise ValueError("fewer pixels than its header says")
        file.seek(start)
        data = np.frombuffer(file.read(wanted), np.uint8)
        if kind == 4:
            return np.unpackbits(data.reshape(height, -1), axis=1, count=width)
        samples = data if white < 256 else data.view(">u2")
    if samples.size < np.prod(shape) or samples.min(initial=0) < 0 or samples.max(initial=0) > white:
        raise ValueError("fewer pixels, or larger values, than its header says")
    return samples.astype(dtype).reshape(shape)


def _plain(text: bytes, *, digits: bool) -> NDArray[np.int64]:
    """Numbers written as text; of bits, every digit is one."""
    text = re.sub(rb"#[^\r\n]*", b"", text)
    if digits:
        return np.frombuffer(b"".join(text.split()), np.uint8).astype(np.int64) - ord("0")
    return np.array(text.split(), dtype=bytes).astype(np.int64)
