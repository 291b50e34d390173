"""Tiles on the tissue of slides."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from wsi_tiling.checks import check_number, exact
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.tables.table import PatientOf, TileTable, at_least, check_share, identity, tiles_at
from wsi_tiling.tissue.rule import TissueRule, resolve_rule
from wsi_tiling.tissue.shares import tissue_shares


def find_tiles(
    slides: Iterable[Slide],
    *,
    field_l0: float | Sequence[float],
    rule: TissueRule,
    stride_l0: float | None = None,
    overlap: float | None = None,
    half_shifts: bool = False,
    min_tissue: float = 0.05,
    patient_of: PatientOf | None = None,
    split: str = "train",
) -> TileTable:
    """Finds the tiles of slides that hold tissue.

    Tiles lie on a grid inside each slide's scanned region, centred on it. Where that is smaller than the field, one
    tile is centred on it and reaches over its edges. Overlaps and strides are taken as the decimal fractions that they
    are written as. The share of tissue is that of pixels that pass the rule, at 32 px a tile; the
    rule's erosion and dilation, made for another scale, play no part. Otsu's limit is found for each slide.

    Args:
        slides: Slides to look at; each must know its path.
        field_l0: Side of a tile, level-0 pixels; several for tiles at several magnifications.
        rule: What counts as tissue.
        stride_l0: Distance between tiles, level-0 pixels; one field if not given.
        overlap: Share of a tile that overlaps the next, in [0, 1), instead of a stride: the same for all fields.
        half_shifts: Adds the grid moved by half a field in x, in y and in both, as far as it stays on the slide.
        min_tissue: Least share of tissue of a tile that is kept.
        patient_of: Patients by slide name, or a function of the name; that name itself if not given.
        split: What to write in the column `split`.

    Returns:
        The kept tiles, slide by slide, field by field, row by row, empty if there are none.

    Raises:
        SlideError: A slide cannot be read, has no path or no known patient, or a field, stride or share is out of
            range.
    """
    fields = list(field_l0) if isinstance(field_l0, Sequence) else [field_l0]
    strides = [_stride(field, stride_l0, overlap, len(fields)) for field in fields]
    if not fields or len(set(fields)) < len(fields):
        raise SlideError(f"wanted one field or several that differ, got {fields}")
    check_share(min_tissue)
    tables = []
    for slide in slides:
        own = identity(slide, patient_of)
        resolved = resolve_rule(rule, slide)
        for field, stride in zip(fields, strides, strict=True):
            left, top, width, height = slide.bounds_l0
            xs = _begins(left, width, exact(field), stride, half_shifts)
            ys = _begins(top, height, exact(field), stride, half_shifts)
            shares = tissue_shares(slide, xs, ys, field, resolved)
            tables.append(tiles_at(at_least(shares, min_tissue, xs, ys), field, split, own))
    return TileTable.concat(tables)


def _stride(field: float, stride_l0: float | None, overlap: float | None, fields: int) -> Fraction:
    if stride_l0 is not None and (overlap is not None or fields > 1):
        raise SlideError("wanted a stride for one field, or an overlap, which serves several: got both")
    check_number("a positive field, in level-0 pixels", field, above=0)
    if overlap is not None:
        check_number("an overlap in [0, 1)", overlap, least=0, below=1)
    if stride_l0 is not None:
        check_number("a stride of at least 1 px", stride_l0, least=1)
        return exact(stride_l0)
    stride = exact(field) * (1 - exact(overlap or 0))
    check_number(f"a stride of at least 1 px, field {field} px with overlap {overlap or 0}", float(stride), least=1)
    return stride


def _begins(origin: int, length: int, field: Fraction, stride: Fraction, half_shifts: bool) -> list[int]:
    """The positions of tiles along one side of a region, rounded down to whole pixels."""
    count = 1 + max(0, int((length - field) // stride))
    first = (length - field - (count - 1) * stride) / 2
    begins = [math.floor(first + index * stride) for index in range(count)]
    if half_shifts:
        shifted = (begin + int(field // 2) for begin in begins)
        begins = sorted({*begins, *(begin for begin in shifted if begin + field <= length)})
    return [origin + begin for begin in begins]
