"""PNG files: samples exactly as stored, with the colours and the transparency that their chunks define."""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from image_files.errors import RefusedKindError
from image_files.info import ImageInfo
from image_files.orientation import exif_orientation
from image_files.pillow_file import opened

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE = 3
_COLOURS: dict[int, Literal["grey", "palette", "RGB"]] = {0: "grey", 2: "RGB", 3: "palette", 4: "grey", 6: "RGB"}
_WITH_ALPHA = (4, 6)
_MOST_BYTES = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"acTL": 8, b"eXIf": 2**16}
"""The chunks that are read, and how many bytes of each."""


@dataclass(frozen=True)
class _Chunks:
    """Chunks of a file that matter here, by their names; the first of each name."""

    contents: dict[bytes, bytes]

    @property
    def bits(self) -> int:
        return self.contents[b"IHDR"][8]

    @property
    def kind(self) -> int:
        return self.contents[b"IHDR"][9]


def read_header(file: BinaryIO) -> ImageInfo:
    """Reads the chunks of a file without its pixels.

    Raises:
        ValueError: It is damaged.
    """
    chunks = _read_chunks(file)
    size = chunks.contents[b"IHDR"]
    frames = int.from_bytes(chunks.contents.get(b"acTL", b"")[:4], "big")
    return ImageInfo(
        "PNG",
        (int.from_bytes(size[:4], "big"), int.from_bytes(size[4:8], "big")),
        white=255 if chunks.kind == _PALETTE else 2**chunks.bits - 1,
        colours=_COLOURS[chunks.kind],
        alpha=chunks.kind in _WITH_ALPHA or b"tRNS" in chunks.contents,
        orientation=exif_orientation(chunks.contents.get(b"eXIf")),
        problem="it is animated; save the wanted frame as a file of its own" if frames > 1 else None,
    )


def read_samples(file: BinaryIO) -> NDArray[Any]:
    """Decodes the colours: (H, W) grey, or (H, W, 2, 3 or 4) with the opacity last, from 0 to white."""
    chunks = _read_chunks(file)
    stored = _stored(file, chunks)
    clear = chunks.contents.get(b"tRNS")
    if chunks.kind == _PALETTE:
        colours: NDArray[Any] = _palette(chunks.contents.get(b"PLTE", b""), clear)[stored]
        return colours
    if clear is None or chunks.kind in _WITH_ALPHA:
        return stored
    colours = stored if stored.ndim == 3 else stored[..., None]
    key = np.frombuffer(clear[: 2 * colours.shape[2]], ">u2")
    white = 2**chunks.bits - 1
    opacity = np.where((colours == key).all(axis=2, keepdims=True), 0, white).astype(stored.dtype)
    return np.concatenate([colours, opacity], axis=2)


def read_numbers(file: BinaryIO) -> NDArray[Any]:
    """Decodes the numbers as stored, (H, W): grey values that are not scaled, or indices into the palette.

    Raises:
        RefusedKindError: There are several channels.
    """
    chunks = _read_chunks(file)
    if chunks.kind not in (0, _PALETTE):
        kind = {2: "RGB", 4: "grey with transparency"}.get(chunks.kind, "RGB with transparency")
        raise RefusedKindError(f"wanted label numbers, one channel, got {kind}; save the numbers themselves")
    return _stored(file, chunks)


def _read_chunks(file: BinaryIO) -> _Chunks:
    file.seek(len(SIGNATURE))
    contents: dict[bytes, bytes] = {}
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name in _MOST_BYTES and name not in contents:
            contents[name] = file.read(min(length, _MOST_BYTES[name]))
            length -= len(contents[name])
        file.seek(length + 4, io.SEEK_CUR)
    chunks = _Chunks(contents)
    if len(contents.get(b"IHDR", b"")) < 13 or chunks.kind not in _COLOURS or chunks.bits not in (1, 2, 4, 8, 16):
        raise ValueError("no valid header")
    if chunks.kind == _PALETTE and b"PLTE" not in contents:
        raise ValueError("no palette")
    return chunks


def _stored(file: BinaryIO, chunks: _Chunks) -> NDArray[Any]:
    """The samples as stored, (H, W) or (H, W, 2, 3 or 4) of uint8 or uint16."""
    if chunks.bits == 16:
        file.seek(0)
        samples = np.asarray(imagecodecs.png_decode(file.read()))
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[chunks.kind]
        # The decoder makes an opacity of a transparent colour, wrong for grey.
        return samples if samples.ndim == 2 else samples[..., 0] if channels == 1 else samples[..., :channels]
    with opened(file, "PNG") as picture:
        samples = np.asarray(picture)
    if chunks.bits < 8 and chunks.kind == 0:
        # Pillow scales grey values to 255, of 1 bit to true; both can be undone exactly.
        return samples.astype(np.uint8) if chunks.bits == 1 else samples // np.uint8(255 // (2**chunks.bits - 1))
    return samples


def _palette(entries: bytes, opacities: bytes | None) -> NDArray[np.uint8]:
    """The palette's colours, (256, 3 or 4); black beyond its end, as in browsers."""
    colours = np.zeros((256, 3), np.uint8)
    given = np.frombuffer(entries[: len(entries) // 3 * 3], np.uint8).reshape(-1, 3)
    colours[: len(given)] = given
    if opacities is None:
        return colours
    opacity = np.full((256, 1), 255, np.uint8)
    opacity[: len(opacities), 0] = np.frombuffer(opacities, np.uint8)
    return np.concatenate([colours, opacity], axis=1)
