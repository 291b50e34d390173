"""Fields that show whole slides at one scale."""

import math
from fractions import Fraction
from typing import Literal

from wsi_tiling.checks import check_number, exact
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.tables.table import PatientOf, TileTable, at_least, check_share, identity, tiles_at
from wsi_tiling.tissue.rule import TissueRule, resolve_rule
from wsi_tiling.tissue.shares import tissue_shares


def whole_slide_fields(
    slide: Slide,
    field_l0: float,
    *,
    larger: Literal["crop", "cover"] = "crop",
    rule: TissueRule | None = None,
    min_tissue: float = 0.0,
    patient_of: PatientOf | None = None,
    split: str = "train",
) -> TileTable:
    """Lays fields of one size over a whole slide, its scanned region; the slide is never scaled to fit.

    Along a side that is shorter than the field, the slide is centred in it, background around. Along a side that is
    longer, one field is centred on the slide ('crop'), or as few fields as cover it ('cover'): the first begins and the
    last ends with the slide, and all overlap by the same length, to a pixel.

    Args:
        slide: The slide; it must know its path.
        field_l0: Side of a field, level-0 pixels.
        larger: What to do along a side that is longer than the field.
        rule: What counts as tissue in the column `tissue`; everything if not given.
        min_tissue: Least share of tissue of a field that is kept.
        patient_of: As in `find_tiles`.
        split: What to write in the column `split`.

    Returns:
        The fields, row by row.

    Raises:
        SlideError: The slide cannot be read, has no path or no known patient, or an argument is out of range.
    """
    check_number("a positive field, in level-0 pixels", field_l0, above=0)
    if larger not in ("crop", "cover"):
        raise SlideError(f"wanted 'crop' or 'cover' for slides larger than the field, got '{larger}'")
    check_share(min_tissue)
    own = identity(slide, patient_of)
    left, top, width, height = slide.bounds_l0
    xs = _begins(left, width, exact(field_l0), larger == "cover")
    ys = _begins(top, height, exact(field_l0), larger == "cover")
    resolved = resolve_rule(TissueRule.everything() if rule is None else rule, slide)
    shares = tissue_shares(slide, xs, ys, field_l0, resolved)
    return tiles_at(at_least(shares, min_tissue, xs, ys), field_l0, split, own)


def _begins(origin: int, length: int, field: Fraction, cover: bool) -> list[int]:
    """The positions of fields along one side of a region, rounded down to whole pixels."""
    spare = length - field
    if spare <= 0 or not cover:
        return [origin + math.floor(spare / 2)]
    count = math.ceil(length / field)
    return [origin + math.floor(spare * index / (count - 1)) for index in range(count)]
