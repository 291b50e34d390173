"""The layout of one image of a TIFF file, and the meaning of its samples."""

import math
from dataclasses import dataclass, fields
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError
from wsi_tiling.reading.tiff import file as tags
from wsi_tiling.reading.tiff.file import Directory

UNCOMPRESSED, LZW, JPEG, DEFLATES, PACKBITS = 1, 5, 7, (8, 32946), 32773
JPEG_2000S, ZSTD, WEBP = (33005, 34712), 50000, 50001
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_COMPRESSIONS = (UNCOMPRESSED, LZW, JPEG, *DEFLATES, PACKBITS, *JPEG_2000S, ZSTD, WEBP)
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
_ALPHAS: dict[int, Literal["associated", "straight"]] = {1: "associated", 2: "straight"}
_NO_SIGN = (1, 4)
"""Whole numbers without a sign, and numbers of which the file does not say what they are."""
_TURNS = {1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True)} | {
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class UnsupportedTiffError(SlideError):
    """A TIFF file of a kind that this package does not decode itself. OpenSlide may.

    Attributes:
        size_px: Width and height of the image in question.
    """

    def __init__(self, message: str, size_px: tuple[int, int]) -> None:
        super().__init__(message)
        self.size_px = size_px


@dataclass(frozen=True)
class Turn:
    """The steps that make stored pixels upright: columns and rows change places, then they are mirrored.

    Attributes:
        transposed: Whether rows are stored as columns.
        mirrored_x: Whether what is stored last lies at the left.
        mirrored_y: Whether what is stored last lies at the top.
    """

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    def upright_size(self, stored_px: tuple[int, int]) -> tuple[int, int]:
        """Width and height of an upright image."""
        return (stored_px[1], stored_px[0]) if self.transposed else stored_px

    def stored_window(
        self, window: tuple[int, int, int, int], upright_px: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """The stored window of a window (x, y, width, height) of the upright image."""
        x, y, width, height = window
        x = upright_px[0] - x - width if self.mirrored_x else x
        y = upright_px[1] - y - height if self.mirrored_y else y
        return (y, x, height, width) if self.transposed else (x, y, width, height)

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turns stored pixels, (H, W, C)."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        turned = turned[:, ::-1] if self.mirrored_x else turned
        return np.ascontiguousarray(turned[::-1] if self.mirrored_y else turned)


UPRIGHT = Turn()


@dataclass(frozen=True)
class Opacity:
    """The sample that says how opaque a pixel is.

    Attributes:
        sample: Its number.
        kind: Whether colours are multiplied by it ('associated') or not ('straight').
    """

    sample: int
    kind: Literal["associated", "straight"]


@dataclass(frozen=True, eq=False)
class TiffLevel:
    """One image of a TIFF file: its layout, and where its tiles or strips are.

    Attributes:
        size_px: Width and height, as stored.
        segment_px: Width and height of a tile; of a strip, those of the image and of a full strip.
        tiled: Whether it is in tiles, which are whole at the edges, or in strips, the last of which may be short.
        samples: Numbers a pixel.
        separate: Whether each sample has its own tiles, those of the first sample first.
        photometric: What the samples mean, as TIFF numbers it.
        compression: As TIFF numbers it.
        predictor: 2 where each sample is stored as the difference from the one before.
        alpha: The sample that holds opacity, None if there is none.
        turn: How to turn it upright.
        notes: What its samples were taken for, where the file does not say.
        palette: (256, 3) colours of a PALETTE image.
        jpeg_tables: What the JPEG streams of the tiles share.
        starts: First byte of each tile or strip, row by row.
        lengths: Their lengths in bytes; 0 for one that is left out.
    """

    size_px: tuple[int, int]
    segment_px: tuple[int, int]
    tiled: bool
    samples: int
    separate: bool
    photometric: int
    compression: int
    predictor: int
    alpha: Opacity | None
    turn: Turn
    notes: tuple[str, ...]
    palette: NDArray[np.uint8] | None
    jpeg_tables: bytes | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of tiles or strips."""
        (width, height), (across, down) = self.size_px, self.segment_px
        return -(-width // across), -(-height // down)

    @property
    def layout(self) -> tuple[object, ...]:
        """All but where the tiles are: levels that agree in it can be read as one."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in ("starts", "lengths"))

    @classmethod
    def of(cls, directory: Directory) -> Self:
        """Reads the layout of a directory's image.

        Raises:
            SlideError: It is damaged, does not have 8 bits a sample, or has samples of unknown meaning.
            UnsupportedTiffError: It is in colours or a compression that are not decoded here.
        """
        path, number = directory.file.path, directory.number
        samples, bits = number(tags.SAMPLES, 1), directory.numbers(tags.BITS)
        kinds = directory.numbers(tags.SAMPLE_FORMAT)
        if (bits > 8).any() or not np.isin(kinds, _NO_SIGN).all():
            kind = {2: "signed", 3: "float"}.get(int(kinds.max(initial=1)), "unsigned")
            raise SlideError(f"{path}: wanted 8 bits a channel, got {bits.max(initial=1)} ({kind}): convert it first")
        size, tiled = directory.size_px, tags.TILE_WIDTH in directory
        strip = (size[0], min(number(tags.ROWS_PER_STRIP, size[1]), size[1]))
        segment = (number(tags.TILE_WIDTH), number(tags.TILE_HEIGHT)) if tiled else strip
        if min(*size, *segment) < 1 or max(size) >= 2**31 or not 1 <= samples <= 64:
            raise SlideError(f"{path} is damaged: {size} px of {samples} samples in tiles of {segment} make no sense")
        photometric = number(tags.PHOTOMETRIC, BLACK_IS_ZERO)
        alpha, notes = _opacity(directory, samples, photometric)
        turn = turn_of(directory)
        starts, lengths = directory.segments()
        level = cls(
            size_px=size,
            segment_px=segment,
            tiled=tiled,
            samples=samples,
            separate=samples > 1 and number(tags.PLANAR, 1) == 2,
            photometric=photometric,
            compression=number(tags.COMPRESSION, UNCOMPRESSED),
            predictor=number(tags.PREDICTOR, 1),
            alpha=alpha,
            turn=turn,
            notes=notes,
            palette=_palette(directory) if photometric == PALETTE else None,
            jpeg_tables=directory.data(tags.JPEG_TABLES) or None,
            starts=starts,
            lengths=lengths,
        )
        colours = _COLOURS.get(photometric, samples + 1)
        if colours > samples or not bits.size or (bits != 8).any() or not level._decodable(directory):
            message = (
                f"{path}: {samples} samples of {bits.min(initial=8) if bits.size else 1} bits with photometric "
                f"{photometric} and compression {level.compression} are not read: convert them to RGB with JPEG, "
                "deflate, LZW or zstd"
            )
            # OpenSlide, which may decode it, does not turn it.
            raise UnsupportedTiffError(message, size) if turn == UPRIGHT else SlideError(message)
        count = math.prod(level.grid) * (samples if level.separate else 1)
        if len(starts) != count:
            raise SlideError(f"{path} is damaged: wanted {count} tiles or strips, got {len(starts)}")
        return level

    def _decodable(self, directory: Directory) -> bool:
        if self.compression not in _COMPRESSIONS or directory.number(tags.FILL_ORDER, 1) != 1:
            return False
        if self.compression == JPEG:
            return self.predictor == 1 and (self.separate or self.samples in (1, 3))
        if self.compression in (WEBP, *JPEG_2000S):
            return self.predictor == 1 and not self.separate and self.photometric != YCBCR
        return self.predictor in (1, 2) and self.photometric != YCBCR


def _palette(directory: Directory) -> NDArray[np.uint8]:
    colours = directory.numbers(tags.COLOUR_MAP)
    if colours.size != 768:
        raise SlideError(f"{directory.file.path} is damaged: wanted a palette of 256 colours, got {colours.size / 3:g}")
    return (colours // 256 if colours.max() > 255 else colours).astype(np.uint8).reshape(3, 256).T


def turn_of(directory: Directory) -> Turn:
    """The steps that make an image upright.

    Raises:
        SlideError: The file says something that makes no sense.
    """
    orientation = directory.number(tags.ORIENTATION, 1) or 1  # 0: some writers' word for nothing
    if orientation not in _TURNS:
        raise SlideError(f"{directory.file.path} is damaged: its orientation is {orientation}, wanted 1 to 8")
    return Turn(*_TURNS[orientation])


def _opacity(directory: Directory, samples: int, photometric: int) -> tuple[Opacity | None, tuple[str, ...]]:
    """The sample that holds opacity, and a note where the file does not say what its further samples are."""
    colours = _COLOURS.get(photometric, samples)
    spare = samples - colours
    if spare <= 0:
        return None, ()
    kinds = directory.numbers(tags.EXTRA_SAMPLES)[-spare:]
    marked = [number for number, kind in enumerate(kinds) if int(kind) in _ALPHAS]
    opacity = Opacity(colours + marked[0], _ALPHAS[int(kinds[marked[0]])]) if marked else None
    unknown = spare - len(marked)
    if unknown and colours == 1:
        raise SlideError(
            f"{directory.file.path}: it is marked as grey or as a palette, but has {samples} samples a pixel, and it "
            "does not say what they are: save it as an RGB image"
        )
    if unknown == spare == 1:  # as OpenSlide, Pillow and libvips have it
        return Opacity(colours, "straight"), (
            "a pixel's fourth sample is taken as opacity, which the file does not say",
        )
    left_out = f"{unknown} of {samples} samples a pixel left out: the file does not say what they are"
    return opacity, (left_out,) if unknown else ()
