import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_tiling import (
    RECOMMENDED,
    STRICT,
    STUDY,
    ArraySlide,
    Image,
    SlideError,
    TissueRule,
    find_tiles,
    open_slide,
    resolve_rule,
    tissue_mask,
)

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
        for module in ("components", "rule"):
            patch.setattr(f"wsi_tiling.tissue.{module}.MAX_BAND_PX", 8 * 31 * picture.shape[1])
        np.testing.assert_array_equal(tissue_mask(picture, rule), whole)


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
    image[:50] = (235, 195, 215)
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
        {"min_hue": float("-inf")},
        {"erode_px": float("nan")},
        {"min_area_l0": np.float32("nan")},
        {"max_hole_l0": "many"},
        {"kind": "best"},
        {"min_area_l0": -1},
        {"max_hole_l0": float("inf")},
    ],
)
def test_a_senseless_rule_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match="wanted"):
        TissueRule(**fields)


def ellipse(glass: tuple[int, int, int], stain: tuple[float, float, float] = (0.78, 0.45, 0.7)) -> Image:
    """Tissue in the middle of glass that has a colour: a stain lets shares of the glass's light through."""
    noise = np.random.default_rng(0).normal(0, 1, (160, 200, 3))
    y, x = np.mgrid[:160, :200]
    inside = ((x - 100) / 70) ** 2 + ((y - 80) / 55) ** 2 < 1
    image = np.where(inside[..., None], np.array(glass) * stain, glass) + noise
    return image.clip(0, 255).astype(np.uint8)


TINTS = [GLASS, (232, 226, 238), (226, 232, 238), (238, 228, 232), (238, 236, 222), (214, 210, 222), (250, 249, 251)]
RULES = [TissueRule(0.5, 0.03), RECOMMENDED, TissueRule(0.5, 0.03, kind="otsu"), STUDY, STRICT]


@pytest.mark.parametrize("rule", RULES, ids=["plan", "recommended", "otsu", "study", "strict"])
@pytest.mark.parametrize("glass", TINTS)
def test_tinted_glass_is_not_tissue(glass: tuple[int, int, int], rule: TissueRule) -> None:
    rule = dataclasses.replace(rule, erode_px=0, dilate_px=0)
    image = ellipse(glass)
    inside = ellipse((255, 255, 255), (0, 0, 0))[..., 1] < 99
    mask = tissue_mask(image, rule)
    assert mask[~inside].mean() < 0.02  # where noise passes the lowest of the limits
    assert mask[inside].mean() > 0.99
    tiles = find_tiles([ArraySlide(image, path="any.tif")], field_l0=20, rule=rule, min_tissue=0).frame
    shares = [inside[y : y + 20, x : x + 20].mean() for x, y in zip(tiles["x_l0"], tiles["y_l0"], strict=True)]
    np.testing.assert_allclose(tiles["tissue"], shares, atol=0.1)


def test_a_part_of_a_slide_is_judged_by_the_slides_own_glass() -> None:
    glass = np.full((60, 60, 3), (232, 226, 238), np.uint8)
    slide = ArraySlide(ellipse((232, 226, 238)))
    assert slide.glass == pytest.approx((232, 226, 238), abs=1)
    assert not tissue_mask(glass, TissueRule(), background=slide.glass).any()
    assert tissue_mask(glass, TissueRule(), background=(243, 243, 243)).all()
    for wrong in ((1, 2), (0, 0, 300), (float("nan"), 0, 0)):
        with pytest.raises(SlideError, match="colour"):
            tissue_mask(glass, TissueRule(), background=wrong)


def test_white_fill_beside_yellow_glass_is_not_blue_tissue() -> None:
    image = ellipse((240, 238, 222))
    image[:, 180:] = 255
    mask = tissue_mask(image, TissueRule(0.5, 0.03))
    assert not mask[:, 180:].any()
    assert 0.3 < mask.mean() < 0.5


@pytest.mark.parametrize("rule", RULES, ids=["plan", "recommended", "otsu", "study", "strict"])
@pytest.mark.parametrize("dark", [(2, 1, 3), (20, 19, 22), (0, 0, 0), (30, 26, 31), None])
def test_an_almost_black_area_that_was_never_scanned_is_not_tissue(
    rule: TissueRule, dark: tuple[int, int, int] | None
) -> None:
    rule = dataclasses.replace(rule, erode_px=0, dilate_px=0)
    scan = ellipse(GLASS)
    image = np.random.default_rng(1).integers(0, 4, (400, 500, 3)).astype(np.uint8)
    if dark is not None:
        image[:] = dark
    image[120:280, 150:350] = scan
    mask = tissue_mask(image, rule)
    assert mask[130:270, 160:340].mean() > 0.4
    mask[120:280, 150:350] = False
    assert not mask.any()


def test_uniform_pale_tissue_on_no_glass_is_not_taken_for_glass() -> None:
    rng = np.random.default_rng(2)
    pale = np.array((232, 214, 228)) + rng.normal(0, 7, (100, 100, 1)) * (0.6, 1.2, 0.7)
    assert tissue_mask(pale.clip(0, 255).astype(np.uint8), TissueRule(0.5, 0.03)).mean() > 0.9


def test_the_stated_background_counts_as_glass_only_where_none_is_seen() -> None:
    tissue_only = np.full((50, 50, 3), PURPLE, np.uint8)
    assert ArraySlide(tissue_only, background=(250, 248, 240)).glass == (250, 248, 240)
    assert ArraySlide(tissue_only, background=(0, 0, 0)).glass == GLASS
    assert ArraySlide(tissue_only).glass == GLASS
    tinted = ArraySlide(ellipse((232, 226, 238)), background=(255, 255, 255))
    assert tinted.background == (255, 255, 255)
    assert tinted.glass == pytest.approx((232, 226, 238), abs=1)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("almost-white-1", 0, 0.03),
        ("no-tissue", 0, 0.01),
        ("no-tissue-green-pen", 0, 0.03),
        ("no-tissue-line", 0, 0.05),
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


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["TCGA-21-5784-01Z-00-DX1", "TCGA-CH-5767-01Z-00-DX1", "TCGA-DK-A2I6-01A-01-TS1"])
def test_real_tissue_with_pale_gaps_is_kept(real_data: Path, name: str) -> None:
    """The images of KUMAR that look most as if they showed glass."""
    slide = open_slide(real_data / "kumar" / "images" / f"{name}.png")
    assert tissue_mask(slide.read((0, 0), slide.size_l0, slide.size_l0), RECOMMENDED).mean() > 0.95
    assert len(find_tiles([slide], field_l0=250, rule=RECOMMENDED, min_tissue=0.8)) == 16


@pytest.mark.real_data
def test_the_glass_of_a_real_slide_is_measured(real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert slide.glass == pytest.approx((246, 243, 243), abs=2)
        assert slide.notes == ()
        assert slide.bounds_l0 == (0, 0, 2220, 2967)
