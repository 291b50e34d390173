"""Random crops, and the eight ways to turn and mirror them."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsi_tiling.checks import is_whole
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.tables.table import PatientOf, TileTable, check_share, identity, tiles_at
from wsi_tiling.tissue.rule import TissueRule, resolve_rule
from wsi_tiling.tissue.shares import share, slide_mask

Pixels = TypeVar("Pixels", bound=np.generic)
_TRIES_PER_CROP = 1000


def random_crops(
    slide: Slide,
    size_l0: int,
    count: int,
    rng: np.random.Generator,
    *,
    rule: TissueRule | None = None,
    min_tissue: float = 0.0,
    patient_of: PatientOf | None = None,
    split: str = "train",
) -> TileTable:
    """Draws square crops at random whole places inside a slide's scanned region or an image; they may overlap.

    Args:
        slide: The slide; it must know its path.
        size_l0: Side of a crop, level-0 pixels.
        count: How many.
        rng: The source of random numbers.
        rule: What counts as tissue; everything if not given. Otherwise the whole slide is looked at, as in `find_tiles`
            but once.
        min_tissue: Least share of tissue of a crop: others are drawn again.
        patient_of: As in `find_tiles`.
        split: What to write in the column `split`.

    Returns:
        `count` crops, in the order in which they were drawn.

    Raises:
        SlideError: A crop does not fit, too few places hold so much tissue, or what `find_tiles` refuses.
    """
    left, top, width, height = slide.bounds_l0
    if not (is_whole(size_l0, least=1, most=min(width, height)) and is_whole(count, least=0)):
        raise SlideError(f"wanted crops that fit {slide.path} of {width} x {height} px, got {count} of {size_l0} px")
    check_share(min_tissue)
    own = identity(slide, patient_of)
    spare = (width - size_l0, height - size_l0)
    resolved = resolve_rule(TissueRule.everything() if rule is None else rule, slide)
    mask = None if resolved.accepts_everything else slide_mask(slide, (left, top), spare, size_l0, resolved)
    places: list[tuple[int, int, float]] = []
    for _ in range(count * _TRIES_PER_CROP):
        if len(places) == count:
            break
        x, y = (int(rng.integers(0, most, endpoint=True)) for most in spare)
        tissue = 1.0 if mask is None else share(mask, (x, y), size_l0)
        if tissue >= min_tissue:
            places.append((left + x, top + y, tissue))
    if len(places) < count:
        raise SlideError(
            f"{slide.path}: only {len(places)} of {count} crops of {size_l0} px with a share of tissue of "
            f"{min_tissue:g} were found in {count * _TRIES_PER_CROP} tries; ask for less tissue"
        )
    return tiles_at(places, size_l0, split, own)


def dihedral(image: NDArray[Pixels], k: int) -> NDArray[Pixels]:
    """Turns and mirrors an image or a mask in one of eight ways.

    Args:
        image: (H, W) or (H, W, C).
        k: 0 to 3: that many quarter turns, counterclockwise. 4 to 7: mirrored left to right, then k - 4 turns.

    Returns:
        A copy; width and height change places for odd k.

    Raises:
        ValueError: k is not one of 0 to 7.
    """
    _check_way(k)
    mirrored = image[:, ::-1] if k >= 4 else image
    return np.array(np.rot90(mirrored, k % 4), order="C")


def dihedral_inverse(k: int) -> int:
    """The way that undoes another.

    `dihedral(dihedral(image, k), dihedral_inverse(k))` is `image`.

    Raises:
        ValueError: k is not one of 0 to 7.
    """
    _check_way(k)
    return k if k >= 4 else -k % 4  # a mirrored turn undoes itself


def _check_way(k: int) -> None:
    if k not in range(8):
        raise ValueError(f"wanted one of the ways 0 to 7 to turn and mirror, got {k}")
