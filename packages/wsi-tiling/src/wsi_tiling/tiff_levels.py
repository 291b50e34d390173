"""The levels of a TIFF file's picture, and what the file says of its scale."""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from wsi_tiling import tiff_file as tags
from wsi_tiling.errors import SlideError
from wsi_tiling.ome import OmePicture, read_ome
from wsi_tiling.slide import believable_mpp
from wsi_tiling.tiff_file import Directory, TiffFile

UNCOMPRESSED, LZW, JPEG, DEFLATES, PACKBITS = 1, 5, 7, (8, 32946), 32773
JPEG_2000S, ZSTD, WEBP = (33005, 34712), 50000, 50001
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_COMPRESSIONS = (UNCOMPRESSED, LZW, JPEG, *DEFLATES, PACKBITS, *JPEG_2000S, ZSTD, WEBP)
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
_ALPHAS: dict[int, Literal["associated", "straight"]] = {1: "associated", 2: "straight"}
_REDUCED, _MASK = 1, 4
_MAX_LEVELS = 64
_CENTIMETRES_A_UNIT = {2: 2.54, 3: 1.0}


class UnsupportedTiffError(SlideError):
    """A TIFF file of a kind that this package does not decode itself. OpenSlide may."""


@dataclass(frozen=True, eq=False)
class TiffLevel:
    """One picture of a TIFF file: its layout, and where its tiles or strips are.

    Attributes:
        size_px: Width and height.
        segment_px: Width and height of a tile; of a strip, those of the picture and of a full strip.
        tiled: Whether it is in tiles, which are whole at the edges, or in strips, the last of which may be short.
        samples: Numbers a pixel.
        separate: Whether each sample has its own tiles, those of the first sample first.
        photometric: What the samples mean, as TIFF numbers it.
        compression: As TIFF numbers it.
        predictor: 2 where each sample is stored as the difference from the one before.
        alpha: How the sample after the colours tells opacity, None if it does not.
        palette: (256, 3) colours of a PALETTE picture.
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
    alpha: Literal["associated", "straight"] | None
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
        """Reads the layout of a directory's picture.

        Raises:
            SlideError: It is damaged or does not have 8 bits a sample.
            UnsupportedTiffError: It is in colours or a compression that are not decoded here.
        """
        path, number = directory.file.path, directory.number
        samples, bits = number(tags.SAMPLES, 1), directory.numbers(tags.BITS)
        kinds = directory.numbers(tags.SAMPLE_FORMAT)
        if (bits > 8).any() or (kinds > 1).any():
            kind = {2: "signed", 3: "float"}.get(int(kinds.max(initial=1)), "unsigned")
            raise SlideError(f"{path}: wanted 8 bits a channel, got {bits.max(initial=1)} ({kind}): convert it first")
        size, tiled = directory.size_px, tags.TILE_WIDTH in directory
        strip = (size[0], min(number(tags.ROWS_PER_STRIP, size[1]), size[1]))
        segment = (number(tags.TILE_WIDTH), number(tags.TILE_HEIGHT)) if tiled else strip
        if min(*size, *segment) < 1 or max(size) >= 2**31 or not 1 <= samples <= 64:
            raise SlideError(f"{path} is damaged: {size} px of {samples} samples in tiles of {segment} make no sense")
        photometric = number(tags.PHOTOMETRIC, BLACK_IS_ZERO)
        extra = number(tags.EXTRA_SAMPLES) if samples > _COLOURS.get(photometric, samples) else 0
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
            alpha=_ALPHAS.get(extra),
            palette=_palette(directory) if photometric == PALETTE else None,
            jpeg_tables=directory.data(tags.JPEG_TABLES) or None,
            starts=starts,
            lengths=lengths,
        )
        colours = _COLOURS.get(photometric, samples + 1)
        if colours > samples or not bits.size or (bits != 8).any() or not level._decodable(directory):
            raise UnsupportedTiffError(
                f"{path}: {samples} samples of {bits.min(initial=8)} bits with photometric {photometric} and "
                f"compression {level.compression} are not read: convert them to RGB with JPEG, deflate, LZW or zstd"
            )
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


def read_levels(file: TiffFile) -> tuple[list[TiffLevel], float | None]:
    """The levels of a file's first picture, largest first, and its scale, micrometres a pixel.

    Reduced levels are looked for below the first picture (SubIFDs, as OME-TIFF has them) and after it: those marked as
    reduced, and unmarked tiled ones whose sides are 1/2, 1/4, ... of the first's. An OME-TIFF file may hold red, green
    and blue as three grey pictures.

    Raises:
        SlideError: The file is damaged, or holds something else than one plane of 8-bit grey or colour.
        UnsupportedTiffError: It is in colours or a compression that are not decoded here.
    """
    first, *others = file.directories
    ome = _ome(first)
    if ome is not None and ome.planes != 1:
        raise SlideError(f"{file.path}: wanted one plane, got {ome.planes} in depth or time: save one of them alone")
    base = TiffLevel.of(first)
    if ome is not None and ome.channels > 1 and base.samples == 1:
        levels = _joined(file, ome)
    else:
        marked = [other for other in others if other.number(tags.SUBFILE_TYPE) & _REDUCED or _halves(other, base)]
        reduced = [other for other in [*_below(first), *marked] if _fits(other, base)]
        levels = [base, *(TiffLevel.of(directory) for directory in reduced[:_MAX_LEVELS])]
    by_size = {level.size_px: level for level in reversed(levels)}  # of two of a size, the first
    mpp = believable_mpp(list(ome.mpp)) if ome is not None and ome.mpp else _stated_mpp(first)
    return [by_size[size] for size in sorted(by_size, reverse=True)], mpp


def _ome(directory: Directory) -> OmePicture | None:
    try:
        return read_ome(directory.text(tags.DESCRIPTION))
    except ValueError as error:
        raise SlideError(f"{directory.file.path}: {error}") from error


def _below(directory: Directory) -> list[Directory]:
    starts = directory.numbers(tags.SUB_DIRECTORIES)[:_MAX_LEVELS]
    return [directory.file.directory(int(start)) for start in starts]


def _halves(directory: Directory, base: TiffLevel) -> bool:
    """Whether a tiled picture's sides are 1/2, 1/4, ... of the first's."""
    if tags.TILE_WIDTH not in directory or min(directory.size_px) < 1:
        return False
    factor = 2 ** max(1, round(math.log2(base.size_px[0] / directory.size_px[0])))
    sides = zip(directory.size_px, base.size_px, strict=True)
    return all(length in (whole // factor, -(-whole // factor)) for length, whole in sides)


def _fits(directory: Directory, base: TiffLevel) -> bool:
    """Whether a picture has the shape of the first, smaller, and is no mask."""
    (width, height), (whole_x, whole_y) = directory.size_px, base.size_px
    if directory.number(tags.SUBFILE_TYPE) & _MASK or not (0 < width <= whole_x and 0 < height <= whole_y):
        return False
    factor = whole_x / width if whole_x >= whole_y else whole_y / height
    return factor > 1 and abs(whole_x / factor - width) <= 1 and abs(whole_y / factor - height) <= 1


def _joined(file: TiffFile, ome: OmePicture) -> list[TiffLevel]:
    """Levels whose red, green and blue are grey pictures of their own."""
    rgb = ome.names in (("red", "green", "blue"), ("r", "g", "b"), ("", "", ""), ())
    if ome.channels != 3 or not rgb or len(file.directories) < 3:
        raise SlideError(
            f"{file.path}: wanted red, green and blue, got {ome.channels} channels {', '.join(ome.names)}: "
            "save it as a colour picture first"
        )
    pictures = file.directories[:3]
    reduced = zip(*(_below(directory) for directory in pictures), strict=False)
    levels = [[TiffLevel.of(directory) for directory in planes] for planes in [pictures, *reduced]]
    if any(plane.layout != planes[0].layout for planes in levels for plane in planes):
        raise SlideError(f"{file.path}: its red, green and blue do not fit together")
    return [_join(planes) for planes in levels]


def _join(planes: list[TiffLevel]) -> TiffLevel:
    starts, lengths = (np.concatenate([getattr(plane, name) for plane in planes]) for name in ("starts", "lengths"))
    return replace(planes[0], samples=3, separate=True, photometric=RGB, starts=starts, lengths=lengths)


def _palette(directory: Directory) -> NDArray[np.uint8]:
    colours = directory.numbers(tags.COLOUR_MAP)
    if colours.size != 768:
        raise SlideError(f"{directory.file.path} is damaged: wanted a palette of 256 colours, got {colours.size / 3:g}")
    return (colours // 256 if colours.max() > 255 else colours).astype(np.uint8).reshape(3, 256).T


def _stated_mpp(directory: Directory) -> float | None:
    """The scale that the resolution tags give."""
    unit_cm = _CENTIMETRES_A_UNIT.get(directory.number(tags.RESOLUTION_UNIT, 2))
    per_unit = [*directory.numbers(tags.X_RESOLUTION)[:1], *directory.numbers(tags.Y_RESOLUTION)[:1]]
    if unit_cm is None:
        return None
    return believable_mpp([1e4 * unit_cm / float(value) for value in per_unit if value > 0])
