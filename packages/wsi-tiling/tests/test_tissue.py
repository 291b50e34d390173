from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_tiling import STRICT, STUDY, TissueRule, open_slide, tissue_mask
from wsi_tiling.region import Image

GLASS, PURPLE, PINK, GREEN_PEN = (242, 243, 242), (110, 60, 150), (230, 150, 190), (40, 160, 130)


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((20, 30, 3), colour, np.uint8)


@pytest.mark.parametrize(("colour", "tissue"), [(GLASS, False), (PURPLE, True), (PINK, True), (GREEN_PEN, False)])
def test_stained_colours_are_tissue_and_glass_is_not(colour: tuple[int, int, int], tissue: bool) -> None:
    mask = tissue_mask(plain(colour), STUDY)
    assert mask.shape == (20, 30)
    assert mask.dtype == np.bool_
    assert (mask == tissue).all()


def test_the_strict_rule_leaves_blue_out() -> None:
    blue = plain((120, 120, 200))
    assert tissue_mask(blue, STUDY).all()
    assert not tissue_mask(blue, STRICT).any()


def test_everything_is_everything() -> None:
    for colour in (GLASS, (0, 0, 0), (255, 255, 255), GREEN_PEN):
        assert tissue_mask(plain(colour), TissueRule.everything()).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_erosion_and_dilation_are_those_of_squares(seed: int) -> None:
    random = np.random.default_rng(seed)
    seeds = random.random((24, 31)) < 0.9
    image = np.where(seeds[..., None], PURPLE, GLASS).astype(np.uint8)
    padded = np.pad(seeds, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    eroded = windows.all(axis=(2, 3))
    np.testing.assert_array_equal(tissue_mask(image, TissueRule(erode_px=3)), eroded)
    padded = np.pad(eroded, 2, mode="edge")
    dilated = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).any(axis=(2, 3))
    np.testing.assert_array_equal(tissue_mask(image, TissueRule(erode_px=3, dilate_px=5)), dilated)


def test_specks_are_eroded_and_tissue_gets_a_rim() -> None:
    image = np.full((200, 200, 3), GLASS, np.uint8)
    image[10:13, 10:13] = PURPLE
    image[100:120, 100:120] = PURPLE
    rows, cols = np.nonzero(tissue_mask(image, STUDY))
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (77, 142, 77, 142)


@pytest.mark.parametrize(
    "fields", [{"erode_px": 4}, {"dilate_px": -1}, {"min_hue": 1.5}, {"min_saturation": float("nan")}]
)
def test_a_senseless_rule_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match="wanted"):
        TissueRule(**fields)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("almost-white-1", 0, 0.03),
        ("no-tissue", 0, 0.01),
        ("no-tissue-green-pen", 0, 0.03),
        ("no-tissue-line", 0, 0.04),
        ("low-nuclei-score-level1", 0.5, 0.9),
        ("medium-nuclei-score-green-pen-level1", 0.6, 0.95),
        ("very-low-nuclei-score-red-pen-level1", 0.5, 0.9),
        ("tissue-level0-4302-10273-4814-10785", 0.8, 1),
        ("tissue-level2-3000-7666-7096-11763", 0.7, 0.95),
    ],
)
def test_real_glass_pen_and_tissue_are_told_apart_on_an_overview(
    real_data: Path, name: str, least: float, most: float
) -> None:
    slide = open_slide(real_data / "tissue-filter" / f"{name}.png")
    share = tissue_mask(slide.read((0, 0), slide.size_l0, 32), TissueRule()).mean()
    assert least <= share <= most
