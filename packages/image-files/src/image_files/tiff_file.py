"""TIFF files: the first image by tifffile, exactly as stored, after its header has been checked."""

import io
import logging
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from image_files.errors import RefusedKindError
from image_files.info import ImageInfo
from image_files.jpeg_file import check_scans
from image_files.orientation import valid_orientation
from image_files.pillow_file import opened

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_COLOURS: dict[int, Literal["grey", "palette", "RGB"]] = {
    _WHITE_IS_ZERO: "grey",
    _BLACK_IS_ZERO: "grey",
    _RGB: "RGB",
    _PALETTE: "palette",
    _YCBCR: "RGB",
}
_COLOUR_NAMES = {_MASK: "a transparency mask", _CMYK: "CMYK", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "raw CFA"}
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = range(3)
_JPEG = 7
_IMAGE_CODECS = {_JPEG: "JPEG", 33005: "JPEG2000", 34712: "JPEG2000", 50001: "WEBP"}
"""Compressions whose streams state a size of their own."""
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, *_IMAGE_CODECS))
"""None, CCITT, LZW, deflate, PackBits, LZMA, Zstandard, and those of images."""
_NUMBERS = (
    *("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "rowsperstrip", "tilewidth", "tilelength"),
    *("photometric", "compression", "planarconfig", "predictor", "subfiletype"),
)
"""Properties of a page that are one number each, but for damage."""
_LOSSY = {_JPEG: "JPEG", 50001: "WebP"}
_UNSIGNED, _FLOAT = 1, 3
_SEPARATE = 2
_REDUCED, _MASK_OF_ANOTHER = 1, 4
_MOST_PAGES = 64
_MOST_BITS = 128
_SPARE_PX = 2**16

# tifffile logs what it makes of damaged files; Python prints that where a program has set up no logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_header(file: BinaryIO) -> ImageInfo:
    """Reads the directories of a file.

    Raises:
        ValueError: It is damaged.
    """
    with _opened(file) as tiff:
        page = _first_page(tiff)
        alpha = _alpha(page)
        bits = _bits(page)
        return ImageInfo(
            "TIFF",
            (page.imagewidth, page.imagelength),
            white=255 if page.photometric == _PALETTE else 2**bits - 1,
            colours=_COLOURS.get(page.photometric),
            alpha=alpha in (_PREMULTIPLIED, _ALPHA),
            premultiplied=alpha == _PREMULTIPLIED,
            orientation=valid_orientation(page.tags.valueof(274)),
            problem=_kind_problem(tiff, page) or _colour_problem(page),
        )


def read_samples(file: BinaryIO) -> NDArray[Any]:
    """Decodes the colours: (H, W) grey, or (H, W, 2, 3 or 4) with the opacity last, from 0 to white.

    Raises:
        RefusedKindError: A channel of unknown meaning may be an opacity.
    """
    with _opened(file) as tiff:
        page = _first_page(tiff)
        samples = _stored(file, page)
        if page.photometric == _PALETTE:
            colours: NDArray[Any] = _palette(page)[samples]
            return colours
        white = 2 ** _bits(page) - 1
        samples = samples.astype(np.uint8) if samples.dtype == np.bool_ else samples
        if _alpha(page) == _UNSPECIFIED:
            # Programs differ: to some it is an opacity. Where it is full, all of them agree.
            if (samples[..., -1] != white).any():
                raise RefusedKindError("its last channel may be transparency or not; save it as RGB without that")
            samples = samples[..., 0] if samples.shape[2] == 2 else samples[..., :-1]
        if page.photometric != _WHITE_IS_ZERO:
            return samples
        if samples.ndim == 2:
            return np.asarray(white - samples)
        inverted = samples.copy()
        inverted[..., 0] = white - samples[..., 0]
        return inverted


def read_numbers(file: BinaryIO, *, memory_map: bool = False) -> NDArray[Any]:
    """Decodes the numbers as stored, (H, W), whatever is black or white.

    Args:
        file: The file.
        memory_map: Maps the file into memory instead of reading it, where its numbers lie there as they are.

    Raises:
        RefusedKindError: It holds no numbers, several channels or images, or was compressed with loss.
    """
    with _opened(file) as tiff:
        page = _first_page(tiff)
        problem = _kind_problem(tiff, page)
        if page.samplesperpixel != 1 or page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, _MASK):
            kind = _COLOUR_NAMES.get(page.photometric, f"{page.samplesperpixel} channels")
            problem = f"wanted label numbers, one channel, got {kind}; save the numbers themselves"
        elif page.compression in _LOSSY:
            problem = f"{_LOSSY[page.compression]} compression changes label numbers; save them without loss"
        elif page.dtype is None or page.dtype.kind not in "buif":
            problem = f"wanted label numbers, got samples of {page.bitspersample} bits, format {page.sampleformat}"
        if problem:
            raise RefusedKindError(problem)
        if memory_map and page.is_memmappable and tiff.byteorder == _native():
            return np.asarray(page.asarray(out="memmap"))
        return _stored(file, page)


def _opened(file: BinaryIO) -> "TiffFile":
    import tifffile  # takes a quarter of a second, and most folders hold no TIFF

    file.seek(0)
    return tifffile.TiffFile(file, name="image")


def _first_page(tiff: "TiffFile") -> "TiffPage":
    page = tiff.pages.first
    for name in _NUMBERS:
        if not isinstance(value := getattr(page, name), int) or value < 0:
            raise ValueError(f"{value} as {name}")
    return page


def _bits(page: "TiffPage") -> int:
    """Bits a sample: the most, where they differ."""
    bits = max(page.bitspersample) if isinstance(page.bitspersample, tuple) else int(page.bitspersample)
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"{bits} bits a sample")
    return bits


def _alpha(page: "TiffPage") -> int | None:
    """The meaning of the one channel beside grey or RGB; None if there is none."""
    colours = 3 if page.photometric in (_RGB, _YCBCR) else 1
    if page.samplesperpixel != colours + 1:
        return None
    return int(page.extrasamples[0]) if page.extrasamples else _UNSPECIFIED


def _kind_problem(tiff: "TiffFile", page: "TiffPage") -> str | None:
    """Why a file is not one image that can be decoded."""
    if page.compression not in _COMPRESSIONS:
        name = getattr(page.compression, "name", page.compression)
        return f"its compression, {name}, is not read; save it with deflate, LZW or none"
    if page.imagedepth != 1 or _has_further(tiff) or _stated_images(page.description) > 1:
        return "it holds several images; save the wanted one as a file of its own"
    return None


def _colour_problem(page: "TiffPage") -> str | None:
    """Why an image cannot be brought to RGB."""
    if page.photometric not in _COLOURS or 262 not in page.tags:
        name = _COLOUR_NAMES.get(page.photometric, "colours of an unknown kind") if 262 in page.tags else "no statement"
        return f"wanted RGB or grey, got {name}; convert it to RGB first"
    if isinstance(page.bitspersample, tuple) or page.sampleformat != _UNSIGNED:
        kind = "floating-point" if page.sampleformat == _FLOAT else "unusual"
        return f"wanted 8 bits a channel, got {kind} samples, {page.bitspersample} bits; convert it first"
    colours = 3 if page.photometric in (_RGB, _YCBCR) else 1
    if page.samplesperpixel not in (colours, colours + 1) or (
        page.photometric == _PALETTE and page.samplesperpixel > 1
    ):
        return f"wanted grey, RGB and transparency, got {page.samplesperpixel} channels; convert it to RGB first"
    if page.photometric == _YCBCR and (page.compression != _JPEG or page.planarconfig == _SEPARATE):
        return "wanted RGB or grey, got YCbCr; convert it to RGB first"
    if page.photometric == _PALETTE and page.colormap is None:
        return "it has no palette for its indices; save it as RGB"
    return None


def _has_further(tiff: "TiffFile") -> bool:
    """Whether there are images besides the first, other than reduced copies and masks of it."""
    for number in range(1, _MOST_PAGES):
        try:
            page = tiff.pages[number]
        except IndexError:
            return False
        if not int(getattr(page, "subfiletype", 0)) & (_REDUCED | _MASK_OF_ANOTHER):
            return True
    return True


def _stated_images(description: str) -> int:
    """The number of images that ImageJ states: large stacks have one directory for all."""
    stated = (
        re.search(r"^images=(\d{1,9})\s*$", description, re.MULTILINE) if description.startswith("ImageJ=") else None
    )
    return int(stated[1]) if stated else 1


def _native() -> str:
    return "<" if np.little_endian else ">"


def _palette(page: "TiffPage") -> NDArray[np.uint8]:
    """The palette, (256 or more, 3). Its entries have 16 bits, but some writers fill 8 of them."""
    entries = np.asarray(page.colormap).T
    palette = np.zeros((max(len(entries), 256), 3), np.uint8)
    palette[: len(entries)] = entries >> 8 if entries.max(initial=0) > 255 else entries
    return palette


def _stored(file: BinaryIO, page: "TiffPage") -> NDArray[Any]:
    """The samples as stored, (H, W) or (H, W, C), in the machine's byte order."""
    _check_segments(file, page)
    samples = np.asarray(page.asarray())
    if samples.size != page.imagewidth * page.imagelength * page.samplesperpixel:
        raise ValueError(f"wanted {page.imagewidth} x {page.imagelength} px, got {samples.shape}")
    if page.planarconfig == _SEPARATE and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, 2)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples


def _check_segments(file: BinaryIO, page: "TiffPage") -> None:
    """Makes sure that no strip or tile is missing, cut short or far larger than its header says."""
    across = page.tilewidth if page.is_tiled else page.imagewidth
    down = page.tilelength if page.is_tiled else page.rowsperstrip
    if across * down > 4 * page.imagewidth * page.imagelength + _SPARE_PX * 16:
        raise ValueError(f"tiles of {across} x {down} px for {page.imagewidth} x {page.imagelength} px")
    planes = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
    wanted = -(-page.imagewidth // across) * -(-page.imagelength // down) * planes
    if len(page.dataoffsets) != wanted or len(page.databytecounts) != wanted:
        raise ValueError(f"wanted {wanted} strips or tiles, got {len(page.dataoffsets)}")
    length = file.seek(0, io.SEEK_END)
    codec = _IMAGE_CODECS.get(page.compression)
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if not 0 < start < start + count <= length:
            raise ValueError("strips or tiles are missing")
        if codec:
            file.seek(start)
            _check_stream(file.read(count), codec, 2 * across * down + _SPARE_PX)


def _check_stream(data: bytes, codec: str, most_px: int) -> None:
    """Makes sure that the stream of a strip or tile ends, and states a size that it can have."""
    if codec == "JPEG" and not check_scans(data):
        raise ValueError("a JPEG stream in it has no end")
    with opened(io.BytesIO(data), codec) as picture:
        if picture.width * picture.height > most_px:
            raise ValueError(f"a strip or tile of {picture.width} x {picture.height} px")
