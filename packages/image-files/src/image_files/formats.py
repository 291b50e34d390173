"""The reader of each format, chosen by a file's first bytes, whatever its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from numpy.typing import NDArray

from image_files import jpeg_file, pillow_file, png_file, pnm_file, tiff_file
from image_files.errors import RefusedKindError, UnknownFormatError
from image_files.info import ImageInfo


@dataclass(frozen=True)
class Format:
    """The functions that read one format.

    Attributes:
        read_header: Reads the header.
        read_samples: Decodes colours, (H, W) or (H, W, 2, 3 or 4), from 0 to white.
        read_numbers: Decodes the numbers as stored, (H, W).
    """

    read_header: Callable[[BinaryIO], ImageInfo]
    read_samples: Callable[[BinaryIO], NDArray[Any]]
    read_numbers: Callable[[BinaryIO], NDArray[Any]]


def _lossy(name: str, file: BinaryIO) -> NDArray[Any]:
    raise RefusedKindError(f"wanted label numbers, got a {name} file, whose compression changes them; save a PNG")


PNG = Format(png_file.read_header, png_file.read_samples, png_file.read_numbers)
JPEG = Format(jpeg_file.read_header, jpeg_file.read_samples, partial(_lossy, "JPEG"))
TIFF = Format(tiff_file.read_header, tiff_file.read_samples, tiff_file.read_numbers)
PNM = Format(pnm_file.read_header, pnm_file.read_samples, pnm_file.read_numbers)
WEBP = Format(
    partial(pillow_file.read_header, pillow_format="WEBP"),
    partial(pillow_file.read_samples, pillow_format="WEBP"),
    partial(_lossy, "WebP"),
)
BMP = Format(
    partial(pillow_file.read_header, pillow_format="BMP"),
    partial(pillow_file.read_samples, pillow_format="BMP"),
    partial(pillow_file.read_numbers, pillow_format="BMP"),
)


def format_of(file: BinaryIO) -> Format:
    """Recognises the format of a file.

    Raises:
        UnknownFormatError: It has no known format.
    """
    file.seek(0)
    head = file.read(12)
    for signatures, known in (
        ((png_file.SIGNATURE,), PNG),
        ((b"\xff\xd8\xff",), JPEG),
        (tiff_file.SIGNATURES, TIFF),
        ((b"BM",), BMP),
        (tuple(b"P%d" % kind for kind in range(1, 7)), PNM),
    ):
        if head.startswith(signatures):
            return known
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return WEBP
    raise UnknownFormatError
