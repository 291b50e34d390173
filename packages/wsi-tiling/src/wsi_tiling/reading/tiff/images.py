"""Which images of a TIFF file make up the slide: the largest and its reduced levels. The others are noted.

A file may hold a label, an overview, masks or other scans besides; only their order and their sizes show which
is which. Planes in depth or time, and channels that are stains, are refused: one of them is not the slide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wsi_tiling.errors import SlideError
from wsi_tiling.reading.mpp import StatedMpp, believable_mpp
from wsi_tiling.reading.tiff import file as tags
from wsi_tiling.reading.tiff.file import Directory, TiffFile
from wsi_tiling.reading.tiff.levels import BLACK_IS_ZERO, RGB, WHITE_IS_ZERO, YCBCR, TiffLevel, turn_of
from wsi_tiling.reading.tiff.ome import OmeImage, read_imagej, read_ome

_REDUCED, _MASK = 1, 4
_MAX_LEVELS = 64
_MOST_NAMED = 4
_CENTIMETRES_A_UNIT = {2: 2.54, 3: 1.0}


@dataclass(frozen=True, eq=False)
class TiffLayout:
    """The slide in a TIFF file.

    Attributes:
        levels: Its levels, largest first.
        mpp: The scale that the file states.
        notes: What of the file is left out, or was taken in one of several senses.
    """

    levels: tuple[TiffLevel, ...]
    mpp: StatedMpp
    notes: tuple[str, ...]


def read_layout(file: TiffFile) -> TiffLayout:
    """Reads which images of a file make up the slide.

    The slide is the largest image of the main chain. Its reduced levels are looked for below it (SubIFDs, as OME-TIFF
    has them) and in the chain: those marked as reduced, and unmarked tiled ones whose sides are 1/2, 1/4, ... of its
    own; they have its colours. An OME-TIFF file may hold red, green and blue as three grey images.

    Raises:
        SlideError: The file is damaged, or holds something else than one plane of 8-bit grey or colour.
        UnsupportedTiffError: It is in colours or a compression that are not decoded here.
    """
    chain = file.directories()
    description = chain[0].text(tags.DESCRIPTION)
    _check_imagej(file, description)
    number = _largest(chain)
    base = chain[number]
    ome, notes = _ome(file, description, number, base)
    if ome is not None and ome.planes != 1:
        raise SlideError(f"{file.path}: wanted one plane, got {ome.planes} in depth or time: save one of them alone")
    first = TiffLevel.of(base)
    if ome is not None and ome.samples > 1 and first.samples == 1:
        used = chain[number : number + 3]
        levels, unnamed = _joined(file, ome, used)
        notes += unnamed
    else:
        if ome is not None and ome.samples > max(first.samples, 1):
            raise _stains(file, ome)
        levels, used = _pyramid(first, base, chain)
    others = [directory for directory in chain if all(directory is not mine for mine in used)]
    _check_stack(file, first, others)
    if number:
        notes = (f"the slide is image {number + 1} of {len(chain)} in the file, the largest", *notes)
    return TiffLayout(
        levels=tuple(levels),
        mpp=believable_mpp(ome.mpp) if ome is not None and ome.mpp else _stated_mpp(base),
        notes=(*notes, *first.notes, *_left_out(others)),
    )


def _largest(chain: Sequence[Directory]) -> int:
    """The number of the largest image that is no mask; of two of a size, of the one that is not marked as reduced."""

    def rank(number: int) -> tuple[bool, int, bool, int]:
        directory = chain[number]
        kind, (width, height) = directory.number(tags.SUBFILE_TYPE), directory.size_px
        return not kind & _MASK, max(width, 0) * max(height, 0), not kind & _REDUCED, -number

    return max(range(len(chain)), key=rank)


def _pyramid(first: TiffLevel, base: Directory, chain: Sequence[Directory]) -> tuple[list[TiffLevel], list[Directory]]:
    """The levels of an image, one of each size, largest first, and their directories."""
    reduced = [
        other
        for other in chain
        if other is not base and (other.number(tags.SUBFILE_TYPE) & _REDUCED or _halves(other, first))
    ]
    levels, used = {first.size_px: first}, [base]
    for directory in [*_below(base), *reduced]:
        size = directory.size_px
        if len(levels) <= _MAX_LEVELS and size not in levels and _fits(directory, first) and _alike(directory, base):
            levels[size] = TiffLevel.of(directory)
            used.append(directory)
    return [levels[size] for size in sorted(levels, reverse=True)], used


def _below(directory: Directory) -> list[Directory]:
    starts = directory.numbers(tags.SUB_DIRECTORIES)[:_MAX_LEVELS]
    return [directory.file.directory(int(start)) for start in starts]


def _halves(directory: Directory, first: TiffLevel) -> bool:
    """Whether a tiled image's sides are 1/2, 1/4, ... of the first's."""
    if tags.TILE_WIDTH not in directory or min(directory.size_px) < 1:
        return False
    factor = 2 ** max(1, round(math.log2(first.size_px[0] / directory.size_px[0])))
    sides = zip(directory.size_px, first.size_px, strict=True)
    return all(length in (whole // factor, -(-whole // factor)) for length, whole in sides)


def _fits(directory: Directory, first: TiffLevel) -> bool:
    """Whether an image has the shape of the first, smaller, and is no mask."""
    (width, height), (whole_x, whole_y) = directory.size_px, first.size_px
    if directory.number(tags.SUBFILE_TYPE) & _MASK or not (0 < width <= whole_x and 0 < height <= whole_y):
        return False
    factor = whole_x / width if whole_x >= whole_y else whole_y / height
    return factor > 1 and abs(whole_x / factor - width) <= 1 and abs(whole_y / factor - height) <= 1


def _alike(directory: Directory, base: Directory) -> bool:
    """Whether an image has the colours and the orientation of the slide: a mask of its shape has not."""
    return _colours(directory) == _colours(base)


def _colours(directory: Directory) -> tuple[object, ...]:
    photometric = directory.number(tags.PHOTOMETRIC, BLACK_IS_ZERO)
    bits = directory.numbers(tags.BITS)
    return (
        directory.number(tags.SAMPLES, 1),
        int(bits.max()) if bits.size else 1,
        RGB if photometric == YCBCR else photometric,
        turn_of(directory),
    )


def _ome(file: TiffFile, description: str, number: int, base: Directory) -> tuple[OmeImage | None, tuple[str, ...]]:
    """The file's OME description of the image with a number, and a note if it describes others only."""
    try:
        pictures = read_ome(description)
    except ValueError as error:
        raise SlideError(f"{file.path}: {error}") from error
    sized = [picture for picture in pictures if picture.size_px in (base.size_px, (0, 0))]
    before = [picture for picture in sized if picture.first_directory <= number]
    if before:
        return max(before, key=lambda picture: picture.first_directory), ()
    if pictures:
        sizes = ", ".join("{} x {} px".format(*picture.size_px) for picture in pictures[:_MOST_NAMED])
        return None, (f"the OME description is of other images ({sizes}): it is not used",)
    return None, ()


def _check_imagej(file: TiffFile, description: str) -> None:
    """Raises SlideError if ImageJ says that the file holds a stack or several channels."""
    stack = read_imagej(description)
    if stack is None:
        return
    if stack.planes > 1:
        raise SlideError(f"{file.path}: wanted one plane, got {stack.planes} in depth or time: save one of them alone")
    raise SlideError(
        f"{file.path}: wanted red, green and blue, got {stack.channels} channels of ImageJ: "
        "save it as a colour image first (Image > Type > RGB Color)"
    )


def _check_stack(file: TiffFile, first: TiffLevel, others: Sequence[Directory]) -> None:
    """Raises SlideError if other grey images of the same size make the slide one channel or plane of several."""
    if first.samples > 1 or first.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return
    same = [
        other
        for other in others
        if other.size_px == first.size_px
        and other.number(tags.SAMPLES, 1) == 1
        and not other.number(tags.SUBFILE_TYPE) & (_REDUCED | _MASK)
    ]
    if same:
        raise SlideError(
            f"{file.path}: wanted one image, got {len(same) + 1} grey ones of {first.size_px[0]} x "
            f"{first.size_px[1]} px, channels or planes: save it as a colour image, or one of them alone"
        )


def _stains(file: TiffFile, ome: OmeImage) -> SlideError:
    return SlideError(
        f"{file.path}: wanted red, green and blue, got {ome.samples} channels {', '.join(ome.names)}: "
        "save it as a colour image first"
    )


def _joined(file: TiffFile, ome: OmeImage, pictures: Sequence[Directory]) -> tuple[list[TiffLevel], tuple[str, ...]]:
    """Levels whose red, green and blue are grey images of their own, and a note if nothing says that they are."""
    named = ome.names in (("red", "green", "blue"), ("r", "g", "b"))
    if ome.samples != 3 or not (named or not any(ome.names)) or ome.coloured or len(pictures) < 3:
        raise _stains(file, ome)
    reduced = zip(*(_below(directory) for directory in pictures), strict=False)
    levels = [[TiffLevel.of(directory) for directory in planes] for planes in [pictures, *reduced]]
    if any(plane.layout != planes[0].layout for planes in levels for plane in planes):
        raise SlideError(f"{file.path}: its red, green and blue do not fit together")
    by_size = {level.size_px: level for level in reversed([_join(planes) for planes in levels])}
    notes = () if named else ("the three unnamed channels are taken as red, green and blue",)
    return [by_size[size] for size in sorted(by_size, reverse=True)], notes


def _join(planes: list[TiffLevel]) -> TiffLevel:
    starts, lengths = (np.concatenate([getattr(plane, name) for plane in planes]) for name in ("starts", "lengths"))
    return replace(planes[0], samples=3, separate=True, photometric=RGB, starts=starts, lengths=lengths)


def _left_out(others: Sequence[Directory]) -> tuple[str, ...]:
    """A note of the images that are not in the slide; none if there are none."""
    if not others:
        return ()
    named = ", ".join(
        "{} x {} px".format(*other.size_px) + (" (a mask)" if other.number(tags.SUBFILE_TYPE) & _MASK else "")
        for other in others[:_MOST_NAMED]
    )
    more = ", ..." if len(others) > _MOST_NAMED else ""
    pictures = "1 other image" if len(others) == 1 else f"{len(others)} other images"
    return (f"{pictures} in the file left out: {named}{more}",)


def _stated_mpp(directory: Directory) -> StatedMpp:
    """The scale that the resolution tags give."""
    unit_cm = _CENTIMETRES_A_UNIT.get(directory.number(tags.RESOLUTION_UNIT, 2))
    if unit_cm is None:
        return StatedMpp()
    per_unit = [*directory.numbers(tags.X_RESOLUTION)[:1], *directory.numbers(tags.Y_RESOLUTION)[:1]]
    return believable_mpp(1e4 * unit_cm / float(value) for value in per_unit if value > 0)
