"""Images as 8-bit RGB and as label numbers: exactly, or not at all."""

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image_files import tiff_file
from image_files.errors import ImageFileError, reading
from image_files.formats import TIFF, format_of
from image_files.info import MAX_PX, ImageInfo
from image_files.orientation import upright

WHITE = (255, 255, 255)
_DEEP_WHITE = 65535


def describe(path: str | PathLike[str], *, allow_16_bits: bool = False, most_px: int = MAX_PX) -> ImageInfo:
    """Reads the header of an image: its upright size and how it differs from plain 8-bit RGB. No pixel is decoded.

    Args:
        path: The image; its kind is read from its content, not from its name.
        allow_16_bits: As of `read_rgb`.
        most_px: As of `read_rgb`.

    Raises:
        ImageFileError: `read_rgb` would refuse it because of its header.
    """
    with reading(path), Path(path).open("rb") as file:
        info = format_of(file).read_header(file)
    _check(path, info, allow_16_bits=allow_16_bits, most_px=most_px)
    return info


def read_rgb(
    path: str | PathLike[str],
    *,
    background: tuple[int, int, int] = WHITE,
    allow_16_bits: bool = False,
    most_px: int = MAX_PX,
) -> NDArray[np.uint8]:
    """Reads an image upright as 8-bit RGB: PNG, JPEG, TIFF, WebP, BMP, PBM, PGM or PPM.

    Grey becomes three equal channels, palettes become colours, fewer than 8 bits are spread over 0 to 255. Colour
    profiles are not applied. CMYK, CIELAB, more channels, several images in one file are refused; of a JPEG file
    with further images behind, the first is read.

    Args:
        path: The image; its kind is read from its content, not from its name.
        background: The colour that transparent pixels are laid on.
        allow_16_bits: Brings 16 bits a channel to 8, with 65,535 as white, instead of refusing them.
        most_px: Most pixels; larger images are refused before a pixel is decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ImageFileError: The file is missing, damaged, too large, or of a kind that cannot be brought to RGB exactly.
    """
    with reading(path), Path(path).open("rb") as file:
        kind = format_of(file)
        info = kind.read_header(file)
        _check(path, info, allow_16_bits=allow_16_bits, most_px=most_px)
        samples = kind.read_samples(file)
        if samples.shape[1::-1] != info.stored_px:
            raise ValueError(f"wanted {info.stored_px[0]} x {info.stored_px[1]} px, got {samples.shape}")
        rgb = upright(_opaque_rgb(_to_8_bits(samples, info), info, background), info.orientation)
        return np.require(rgb, np.uint8, ("C", "W"))


def read_numbers(path: str | PathLike[str], *, most_px: int = MAX_PX, memory_map: bool = False) -> NDArray[Any]:
    """Reads label numbers upright and exactly as stored: PNG, TIFF, BMP, PBM or PGM.

    Grey values are not scaled, however many bits they have, nor inverted where a TIFF file says that 0 is white. The
    indices into a palette are the numbers. Floating-point numbers, as some programs save labels, become integers if
    they are whole.

    Args:
        path: The image; its kind is read from its content, not from its name.
        most_px: Most pixels; larger images are refused before a pixel is decoded.
        memory_map: Maps a TIFF file into memory instead of reading it, where the numbers lie in it as they are.

    Returns:
        (H, W) of integers: of the type that is stored, uint8 for 1 to 8 bits.

    Raises:
        ImageFileError: The file is missing, damaged, too large, holds colours, fractions or several images, or was
            compressed with loss.
    """
    with reading(path), Path(path).open("rb") as file:
        kind = format_of(file)
        info = kind.read_header(file)
        _check_size(path, info, most_px)
        numbers = tiff_file.read_numbers(file, memory_map=memory_map) if kind is TIFF else kind.read_numbers(file)
        if numbers.shape[::-1] != info.stored_px:
            raise ValueError(f"wanted {info.stored_px[0]} x {info.stored_px[1]} px, got {numbers.shape}")
        return upright(_whole(path, numbers), info.orientation)


def _check(path: str | PathLike[str], info: ImageInfo, *, allow_16_bits: bool, most_px: int) -> None:
    _check_size(path, info, most_px)
    if info.bits > 8 and not (allow_16_bits and info.white == _DEEP_WHITE):
        raise ImageFileError(f"{fspath(path)}: wanted 8 bits a channel, got {info.bits}; convert it first")
    if info.problem:
        raise ImageFileError(f"{fspath(path)}: {info.problem}")


def _check_size(path: str | PathLike[str], info: ImageInfo, most_px: int) -> None:
    width, height = info.size_px
    if not width or not height:
        raise ImageFileError(f"{fspath(path)} is damaged: it states a size of {width} x {height} px")
    if width * height > most_px:
        raise ImageFileError(
            f"{fspath(path)}: {width:,} x {height:,} px is too large to be read whole, at most {most_px / 1e6:,.0f} "
            "million px are; cut or reduce it first"
        )


def _to_8_bits(samples: NDArray[Any], info: ImageInfo) -> NDArray[np.uint8]:
    if info.white == 255:
        return samples
    values = np.rint(np.arange(info.white + 1) * 255 / info.white).astype(np.uint8)
    return np.asarray(values[samples])


def _opaque_rgb(samples: NDArray[np.uint8], info: ImageInfo, background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Makes (H, W, 3) of grey or RGB with or without opacity."""
    pixels = samples if samples.ndim == 3 else samples[..., None]
    channels = pixels.shape[2]
    colours = pixels[..., : channels - 1] if channels in (2, 4) else pixels
    rgb = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
    if channels in (1, 3):
        return rgb
    clear = pixels[..., -1] < 255
    opacity = pixels[clear][:, -1:].astype(np.int64)
    own = rgb[clear].astype(np.int64) * (255 if info.premultiplied else opacity)
    result = rgb.copy()
    # Whole numbers, for 255 is odd: no half is rounded.
    result[clear] = np.minimum((own + np.asarray(background) * (255 - opacity) + 127) // 255, 255)
    return result


def _whole(path: str | PathLike[str], numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers as integers."""
    if numbers.dtype.kind == "b":
        return numbers.astype(np.uint8)
    if numbers.dtype.kind in "ui":
        return numbers
    numbers = numbers.astype(np.float64, copy=False)  # half precision has no 2**32
    if not (np.isfinite(numbers).all() and numbers.min(initial=0) >= 0 and numbers.max(initial=0) < 2**32):
        raise ImageFileError(f"{fspath(path)}: wanted whole numbers from 0 up, got others; save integers")
    whole = numbers.astype(np.uint32)
    if (whole != numbers).any():
        raise ImageFileError(f"{fspath(path)}: wanted whole numbers, got fractions; save integers")
    return whole
