"""Numbers at the public doors: not-a-number, infinite and senseless ones are refused, of Python's and numpy's kinds."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_tiling import (
    ArraySlide,
    Grid,
    PyramidWriter,
    SlideError,
    TileTable,
    TissueRule,
    find_tiles,
    open_slide,
    overview,
    random_crops,
    read_concentric,
    read_region,
    tissue_mask,
    whole_slide_fields,
)
from wsi_tiling.checks import exact

IMAGE = np.full((64, 80, 3), (170, 90, 160), np.uint8)
RULE = TissueRule.everything()
NOWHERE = [float("nan"), float("inf"), float("-inf"), np.float32("nan"), np.float64("inf"), "7", None]


def slide() -> ArraySlide:
    return ArraySlide(IMAGE, path="any.tif")


DOORS: dict[str, Callable[[Any], object]] = {
    "mpp": lambda x: ArraySlide(IMAGE, mpp=x),
    "field": lambda x: slide().read((0, 0), x, 8),
    "place": lambda x: slide().read((0, x), 8, 8),
    "size": lambda x: slide().read((0, 0), 8, (8, x)),
    "box": lambda x: read_region(IMAGE, (0, 0, x, 8), 8, (0, 0, 0)),
    "size of a region": lambda x: read_region(IMAGE, (0, 0, 8, 8), x, (0, 0, 0)),
    "concentric centre": lambda x: read_concentric(slide(), (x, 8), [8], 8),
    "concentric field": lambda x: read_concentric(slide(), (8, 8), [8, x], 8),
    "tile field": lambda x: find_tiles([slide()], field_l0=x, rule=RULE),
    "stride": lambda x: find_tiles([slide()], field_l0=8, stride_l0=x, rule=RULE),
    "overlap": lambda x: find_tiles([slide()], field_l0=8, overlap=x, rule=RULE),
    "min_tissue": lambda x: find_tiles([slide()], field_l0=8, min_tissue=x, rule=RULE),
    "whole field": lambda x: whole_slide_fields(slide(), x),
    "whole min_tissue": lambda x: whole_slide_fields(slide(), 8, min_tissue=x),
    "crop": lambda x: random_crops(slide(), x, 1, np.random.default_rng(0)),
    "crops": lambda x: random_crops(slide(), 8, x, np.random.default_rng(0)),
    "grid canvas": lambda x: Grid((64, x), 8, 0.5),
    "grid patch": lambda x: Grid((64, 64), x, 0.5),
    "grid overlap": lambda x: Grid((64, 64), 8, x),
    "grid multiple": lambda x: Grid((64, 64), 8, 0.5, x),
    "hue": lambda x: TissueRule(min_hue=x),
    "saturation": lambda x: TissueRule(min_saturation=x),
    "erosion": lambda x: TissueRule(erode_px=x),
    "dilation": lambda x: TissueRule(dilate_px=x),
    "specks": lambda x: TissueRule(min_area_l0=x),
    "holes": lambda x: TissueRule(max_hole_l0=x),
    "scale": lambda x: tissue_mask(IMAGE, RULE, x),
    "overview": lambda x: overview(slide(), TileTable.concat([]), RULE, x),
    "colour": lambda x: ArraySlide(IMAGE, background=(0, 0, x)),
}
MAY_BE_NONE = {"mpp", "stride", "overlap"}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_number_is_refused_in_one_line(door: str) -> None:
    for value in NOWHERE:
        if value is None and door in MAY_BE_NONE:
            continue
        with pytest.raises(ValueError, match="wanted") as caught:
            DOORS[door](value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mpp", "objective", "tile_px", "quality", "size_px", "cache_mib", "background"])
def test_files_are_neither_written_nor_read_by_what_is_no_number(tmp_path: Path, name: str) -> None:
    path = tmp_path / "slide.tif"
    for value in (float("nan"), float("inf"), np.float32("nan")):
        if name == "cache_mib":
            with PyramidWriter(path, (64, 64), mpp=0.5, overwrite=True):
                pass
            with pytest.raises(SlideError, match="wanted"):
                open_slide(path, cache_mib=value)
            path.unlink()
            continue
        one = {"size_px": (64, value), "background": (0, value, 0)}.get(name, value)
        with pytest.raises(SlideError, match="wanted"):
            PyramidWriter(path, **({"size_px": (64, 64), "mpp": 0.5} | {name: one}))
    assert not list(tmp_path.iterdir())


def test_tiles_are_not_written_at_places_that_are_no_numbers(tmp_path: Path) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (64, 64), mpp=0.5) as writer:
        for value in (float("nan"), float("inf")):
            with pytest.raises(SlideError, match="do not fit the grid"):
                writer.write((0, value), np.zeros((64, 64, 3), np.uint8))


def test_numpys_numbers_are_numbers() -> None:
    table = find_tiles([slide()], field_l0=np.float32(16), overlap=np.float32(0.2), min_tissue=np.float64(0), rule=RULE)
    assert len(table) == len(find_tiles([slide()], field_l0=16, overlap=0.2, rule=RULE)) > 0
    assert slide().read((np.int64(1), np.float32(2)), np.float64(8), np.int32(4)).shape == (4, 4, 3)
    assert Grid((np.int64(64), 64), np.int32(16), np.float32(0.2)).stride_px == 12
    assert len(random_crops(slide(), np.int64(8), np.int32(3), np.random.default_rng(0))) == 3
    assert TissueRule(np.float32(0.5), np.float64(0.03), erode_px=np.int64(3)).erode_px == 3


@pytest.mark.parametrize("value", [0.2, np.float32(0.2), np.float64(0.2), Fraction(1, 5)])
def test_a_decimal_fraction_is_meant_as_it_is_written(value: float) -> None:
    assert exact(value) == Fraction(1, 5)
    assert exact(3) == exact(np.int64(3)) == 3
