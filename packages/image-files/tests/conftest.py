"""Image files that other libraries' writers do not make, and the colours that their samples mean."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PNG_KINDS = {"grey": 0, "rgb": 2, "palette": 3, "grey+alpha": 4, "rgb+alpha": 6}
_PALETTE = np.random.default_rng(7).integers(0, 256, (256, 3)).astype(np.uint8)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(samples: NDArray[Any], bits: int, kind: str, *extra: bytes) -> bytes:
    """A PNG of samples (H, W) or (H, W, C), which are stored as they are; chunks in `extra` come before the pixels."""
    height, width = samples.shape[:2]
    if bits == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        values = samples.reshape(height, -1).astype(np.uint8)
        rows = np.packbits(np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_KINDS[kind], 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header)]
    if kind == "palette":
        parts.append(_chunk(b"PLTE", _PALETTE[: 2**bits].tobytes()))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 1)
    return b"".join([*parts, *extra, _chunk(b"IDAT", data), _chunk(b"IEND", b"")])


def _exif(orientation: int) -> bytes:
    """EXIF data that state an orientation."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def _colours_of(samples: NDArray[Any], white: int, *, inverted: bool = False, premultiplied: bool = False) -> Any:
    """What samples (H, W) or (H, W, 1 to 4) mean as RGB of 0 to 255 on white, in exact fractions: (H, W, 3) float64.

    Bits are brought to 8 before what is transparent is laid on white.
    """
    values = np.rint(np.atleast_3d(samples).astype(np.float64) * 255 / white)
    channels = values.shape[2]
    colours, opacity = (values, 255.0) if channels in (1, 3) else (values[..., :-1], values[..., -1:])
    colours = 255 - colours if inverted else colours
    colours = np.broadcast_to(colours, (*colours.shape[:2], 3))
    own = colours if premultiplied else colours * opacity / 255
    return np.minimum(own + 255 - opacity, 255)


@pytest.fixture(scope="session")
def png() -> Callable[..., Any]:
    return _png


@pytest.fixture(scope="session")
def chunk() -> Callable[..., Any]:
    return _chunk


@pytest.fixture(scope="session")
def exif() -> Callable[..., Any]:
    return _exif


@pytest.fixture(scope="session")
def colours_of() -> Callable[..., Any]:
    return _colours_of


@pytest.fixture(scope="session")
def palette() -> NDArray[np.uint8]:
    """256 colours."""
    return _PALETTE
