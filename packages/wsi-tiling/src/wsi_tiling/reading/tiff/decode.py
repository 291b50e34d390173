"""Decoding the tiles and strips of TIFF files, never to more pixels than they may have."""

import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_tiling.reading.tiff.levels import (
    DEFLATES,
    JPEG,
    JPEG_2000S,
    LZW,
    PACKBITS,
    RGB,
    UNCOMPRESSED,
    WEBP,
    WHITE_IS_ZERO,
    YCBCR,
    TiffLevel,
)

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def decode_segment(level: TiffLevel, data: bytes, rows: int) -> NDArray[np.uint8]:
    """Decodes a tile or strip.

    Args:
        level: The layout of the image it belongs to.
        data: Its bytes.
        rows: Rows that it has to hold; it may hold more, up to those of a full one.

    Returns:
        (rows, columns, samples) uint8; one sample where samples are separate.

    Raises:
        ValueError: It is damaged. Codecs raise errors of their own as well, of any class.
    """
    width, full = level.segment_px
    samples = 1 if level.separate else level.samples
    if level.compression == JPEG:
        _check_image("JPEG", _jpeg_shape(data), (rows, width, samples), full)
        colours = "YCBCR" if level.photometric == YCBCR else "RGB" if samples == 3 else "GRAYSCALE"
        pixels = imagecodecs.jpeg8_decode(
            data, tables=level.jpeg_tables, colorspace=colours, outcolorspace="RGB" if samples == 3 else colours
        )
    elif level.compression in JPEG_2000S:
        shape = _jpeg_2000_shape(data)
        _check_image("JPEG 2000", shape, (rows, width, samples), full)
        pixels = imagecodecs.jpeg2k_decode(data, out=np.empty(shape if samples > 1 else shape[:2], np.uint8))
    elif level.compression == WEBP:
        # The decoder compares its header with the array before it decodes.
        held = full if level.tiled else rows
        pixels = imagecodecs.webp_decode(data, out=np.empty((held, width, samples), np.uint8))
    else:
        needed, most = rows * width * samples, full * width * samples
        raw = np.frombuffer(_inflate(level.compression, data, needed, most), np.uint8)
        if raw.size < needed:
            raise ValueError(f"wanted {needed} bytes of pixels, got {raw.size}")
        pixels = raw[:needed].reshape(rows, width, samples)
        if level.predictor == 2 and level.compression != UNCOMPRESSED:
            pixels = imagecodecs.delta_decode(pixels, axis=1)
    pixels = np.asarray(pixels).reshape(-1, width, samples)[:rows]
    if pixels.dtype != np.uint8 or len(pixels) < rows:
        raise ValueError(f"wanted {rows} rows of 8-bit pixels, got {len(pixels)} of {pixels.dtype}")
    return pixels


def to_colour(level: TiffLevel, samples: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Turns the samples of an image, (H, W, samples), into RGB or, with 4 channels, RGB and opacity."""
    if level.photometric in (RGB, YCBCR):
        colours = samples[..., :3]
    elif level.palette is not None:
        colours = level.palette[samples[..., 0]]
    else:
        grey = 255 - samples[..., :1] if level.photometric == WHITE_IS_ZERO else samples[..., :1]
        colours = np.repeat(grey, 3, axis=2)
    if channels == 3:
        return np.ascontiguousarray(colours)
    result = np.empty((*samples.shape[:2], 4), np.uint8)
    result[..., :3], result[..., 3] = colours, 255
    if level.alpha is not None:
        opacity = samples[..., level.alpha.sample]
        result[..., 3] = opacity
        if level.alpha.kind == "associated":
            pure = colours * (255 / np.maximum(opacity, 1).astype(np.float32))[..., None]
            result[..., :3] = np.rint(pure).clip(0, 255)
    return result


def _inflate(compression: int, data: bytes, needed: int, most: int) -> Any:
    """Undoes a lossless compression, to at most `most` bytes."""
    if compression == UNCOMPRESSED:
        return data
    if compression in DEFLATES:
        try:
            return imagecodecs.deflate_decode(data, out=most)
        except imagecodecs.DeflateError:  # some writers add rows past the end, which zlib can leave
            return zlib.decompressobj().decompress(data, needed)
    if compression == LZW:
        return imagecodecs.lzw_decode(data, out=most)
    if compression == PACKBITS:
        return imagecodecs.packbits_decode(data, out=most)
    return imagecodecs.zstd_decode(data, out=most)


def _check_image(name: str, got: tuple[int, int, int], wanted: tuple[int, int, int], most_rows: int) -> None:
    """Raises ValueError unless what a stream says of itself is (rows or a few more, width, samples)."""
    if got[1:] != wanted[1:] or not wanted[0] <= got[0] <= most_rows:
        raise ValueError(f"wanted {wanted} rows, columns and samples of {name}, got {got}")


def _jpeg_shape(data: bytes) -> tuple[int, int, int]:
    """Rows, columns and samples that a JPEG stream's header states."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            if data[place + 4] != 8:
                break
            rows, columns = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            return rows, columns, data[place + 9]
        bare = marker in _BARE or marker == 0xFF
        place += (1 if marker == 0xFF else 2) if bare else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("it is no 8-bit JPEG stream")


def _jpeg_2000_shape(data: bytes) -> tuple[int, int, int]:
    """Rows, columns and samples that a JPEG 2000 stream's header states."""
    place = data.find(b"\xff\x4f\xff\x51") + 4
    header = data[place : place + 38]
    if place < 4 or len(header) < 38:
        raise ValueError("it is no JPEG 2000 stream")
    right, bottom, left, top = (int.from_bytes(header[at : at + 4], "big") for at in (4, 8, 12, 16))
    return bottom - top, right - left, int.from_bytes(header[36:38], "big")
