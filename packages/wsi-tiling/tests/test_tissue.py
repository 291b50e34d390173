from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from wsi_tiling import (
    RECOMMENDED,
    STRICT,
    STUDY,
    ArraySlide,
    TissueRule,
    components,
    open_slide,
    resolve_rule,
    tissue,
    tissue_mask,
)
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


def spots(*sides: int) -> Image:
    """Purple squares on glass, well apart, away from the edges."""
    image = np.full((100, 80 * len(sides), 3), GLASS, np.uint8)
    for number, side in enumerate(sides):
        image[30 : 30 + side, 80 * number + 20 : 80 * number + 20 + side] = PURPLE
    return image


def test_specks_below_the_least_area_are_not_tissue() -> None:
    image = spots(9, 10, 30)
    mask = tissue_mask(image, TissueRule(min_area_l0=100))
    assert mask.sum() == 10 * 10 + 30 * 30
    assert not mask[:, :80].any()


def test_areas_are_measured_at_level_0() -> None:
    image, rule = spots(9, 10, 30), TissueRule(min_area_l0=1600)
    assert tissue_mask(image, rule, scale_l0=4).sum() == 10 * 10 + 30 * 30
    assert tissue_mask(image, rule, scale_l0=4.5).sum() == 9 * 9 + 10 * 10 + 30 * 30
    with pytest.raises(ValueError, match="positive"):
        tissue_mask(image, rule, scale_l0=0)


def test_holes_up_to_the_largest_area_are_filled() -> None:
    holes = np.where((spots(9, 10, 30) == PURPLE).all(axis=2, keepdims=True), GLASS, PURPLE).astype(np.uint8)
    mask = tissue_mask(holes, TissueRule(max_hole_l0=100))
    assert (~mask).sum() == 30 * 30


def test_what_may_go_on_outside_is_no_speck_and_no_hole() -> None:
    image = np.full((60, 60, 3), GLASS, np.uint8)
    image[:5, 20:25] = PURPLE
    image[30:, :] = PURPLE
    image[-5:, 20:25] = GLASS
    mask = tissue_mask(image, TissueRule(min_area_l0=100, max_hole_l0=100))
    np.testing.assert_array_equal(mask, tissue_mask(image, TissueRule()))


def test_a_small_picture_of_tissue_is_tissue() -> None:
    assert tissue_mask(plain(PURPLE), RECOMMENDED).all()
    assert tissue_mask(plain(GLASS), TissueRule.everything()).all()


def test_the_study_s_rules_look_at_colour_alone() -> None:
    for rule in (STUDY, STRICT, TissueRule(), TissueRule.everything()):
        assert rule.goes_by_colour_alone
        assert rule.kind == "limits"
    assert not RECOMMENDED.goes_by_colour_alone


@pytest.mark.parametrize("rule", [STUDY, RECOMMENDED, TissueRule(kind="otsu", min_area_l0=40, max_hole_l0=40)])
def test_a_large_picture_is_taken_in_bands(rule: TissueRule, picture: Image) -> None:
    whole = tissue_mask(picture, rule)
    with pytest.MonkeyPatch.context() as patch:
        for module in (components, tissue):
            patch.setattr(module, "MAX_BAND_PX", 8 * 31 * picture.shape[1])
        np.testing.assert_array_equal(tissue_mask(picture, rule), whole)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_otsu_agrees_with_its_peer(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    stained = random.random((60, 80)) < share
    image = np.where(stained[..., None], PURPLE, GLASS) + random.integers(-12, 13, (60, 80, 1))
    image[..., 1] -= random.integers(0, 6, (60, 80))
    image = image.clip(0, 255).astype(np.uint8)
    saturation = (image.max(axis=2) - image.min(axis=2)).astype(np.float32) / image.max(axis=2)
    counts, edges = np.histogram(saturation, bins=256, range=(0, 1))
    wanted = threshold_otsu(hist=(counts, (edges[1:] + edges[:-1]) / 2))
    found = resolve_rule(TissueRule(kind="otsu", min_hue=-1, min_saturation=0), image)
    assert found.kind == "limits"
    assert found.min_saturation == pytest.approx(wanted)
    unresolved = TissueRule(kind="otsu", min_hue=-1, min_saturation=0)
    np.testing.assert_array_equal(tissue_mask(image, unresolved), tissue_mask(image, found))


@pytest.mark.parametrize("colour", [GLASS, PURPLE, PINK, GREEN_PEN, (0, 0, 0), (255, 255, 255)])
def test_otsu_has_nothing_to_split_in_one_colour(colour: tuple[int, int, int]) -> None:
    for reject_pen in (False, True):
        rule = TissueRule(kind="otsu", min_saturation=0.03, reject_pen=reject_pen)
        assert resolve_rule(rule, plain(colour)).min_saturation == 0.03


def test_otsu_does_not_split_a_picture_without_glass() -> None:
    half = np.concatenate([plain(PURPLE), plain(PINK)])
    assert tissue_mask(half, TissueRule(kind="otsu")).all()


def test_otsu_looks_at_a_whole_slide() -> None:
    image = np.full((2000, 3000, 3), GLASS, np.uint8)
    image[:700, :900] = PINK
    found = resolve_rule(TissueRule(kind="otsu"), ArraySlide(image))
    assert found.kind == "limits"
    assert 0.02 < found.min_saturation < 0.35
    assert tissue_mask(plain(PINK), found).all()
    assert resolve_rule(STUDY, ArraySlide(image)) is STUDY


def test_otsu_leaves_ink_out() -> None:
    image = np.full((200, 200, 3), GLASS, np.uint8)
    image[:50] = (235, 190, 215)
    image[100:] = (10, 170, 120)
    with_ink = resolve_rule(TissueRule(kind="otsu"), image)
    without = resolve_rule(TissueRule(kind="otsu", reject_pen=True), image)
    assert not tissue_mask(image, with_ink)[:50].any()
    assert tissue_mask(image, without)[:50].all()


@pytest.mark.parametrize(
    "fields",
    [
        {"erode_px": 4},
        {"dilate_px": -1},
        {"min_hue": 1.5},
        {"min_saturation": float("nan")},
        {"kind": "best"},
        {"min_area_l0": -1},
        {"max_hole_l0": float("inf")},
    ],
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
