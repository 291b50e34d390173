import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import (
    RECOMMENDED,
    STUDY,
    ArraySlide,
    SlideError,
    TileTable,
    TissueRule,
    find_tiles,
    open_slide,
    resolve_rule,
    tissue_mask,
)
from wsi_tiling.tissue import pen, shares

GLASS, PURPLE = (242, 243, 242), (110, 60, 150)


def slide_with_tissue(name: str = "first.tif") -> ArraySlide:
    """1024 x 768 px of glass with tissue over tiles (0, 0) and the left half of (2, 1), at 256 px a tile."""
    image = np.full((768, 1024, 3), GLASS, np.uint8)
    image[:256, :256] = PURPLE
    image[256:512, 512:640] = PURPLE
    return ArraySlide(image, path=Path("slides") / name)


def test_tiles_with_tissue_are_found_where_they_are() -> None:
    frame = find_tiles([slide_with_tissue()], field_l0=256, rule=STUDY, split="validation").frame
    assert frame[["x_l0", "y_l0"]].to_numpy().tolist() == [[0, 0], [512, 256]]
    np.testing.assert_allclose(frame["tissue"], [1, 0.5], atol=0.04)
    row = frame.iloc[0]
    assert (row["patient"], row["slide"], row["path"]) == ("first", "first", str(Path("slides/first.tif")))
    assert (row["field_l0"], row["split"]) == (256, "validation")


def test_the_least_share_of_tissue_decides() -> None:
    assert len(find_tiles([slide_with_tissue()], field_l0=256, rule=STUDY, min_tissue=0.7)) == 1
    assert len(find_tiles([slide_with_tissue()], field_l0=256, rule=STUDY, min_tissue=0)) == 12


def test_without_a_background_every_tile_counts() -> None:
    table = find_tiles([slide_with_tissue()], field_l0=256, rule=TissueRule.everything(), min_tissue=1)
    assert len(table) == 12


def test_a_slide_of_glass_gives_an_empty_table() -> None:
    glass = ArraySlide(np.full((300, 300, 3), GLASS, np.uint8), path="glass.tif")
    table = find_tiles([glass], field_l0=100, rule=STUDY)
    assert len(table) == 0
    assert len(TileTable.concat([table, table])) == 0


@given(
    size=st.tuples(st.integers(50, 400), st.integers(50, 400)),
    field=st.integers(20, 500),
    stride=st.integers(15, 500),
)
def test_tiles_lie_centred_inside_the_slide_or_centred_over_it(size: tuple[int, int], field: int, stride: int) -> None:
    slide = ArraySlide(np.zeros((size[1], size[0], 3), np.uint8), path="any.tif")
    frame = find_tiles([slide], field_l0=field, stride_l0=stride, rule=TissueRule.everything(), min_tissue=0).frame
    for name, length in (("x_l0", size[0]), ("y_l0", size[1])):
        begins = np.unique(frame[name])
        before, after = begins[0], length - (begins[-1] + field)
        assert abs(before - after) <= 1
        if field > length:
            assert len(begins) == 1
        else:
            assert before >= 0
            assert before + after < stride + 1
            assert (np.diff(begins) == stride).all()


@pytest.mark.parametrize("overlap", ["0.05", "0.1", "0.2", "0.3", "0.6", "0.7", "0.9", "0.95"])
@pytest.mark.parametrize("field", [128, 100, 51.2])
def test_an_overlap_is_the_decimal_fraction_that_it_is_written_as(overlap: str, field: float) -> None:
    """Where the slide's length fits the grid exactly, its last row and column are there."""
    stride = Fraction(str(field)) * (1 - Fraction(overlap))
    columns = next(count for count in range(2, 200) if (stride * (count - 1) + Fraction(str(field))).denominator == 1)
    length = int(stride * (columns - 1) + Fraction(str(field)))
    slide = ArraySlide(np.zeros((length, length, 3), np.uint8), path="any.tif")
    for value in (float(overlap), np.float32(overlap), np.float64(overlap)):
        frame = find_tiles([slide], field_l0=field, overlap=value, rule=TissueRule.everything()).frame
        assert sorted(set(frame["x_l0"])) == [math.floor(index * stride) for index in range(columns)]
        assert len(frame) == columns**2
    strides = find_tiles([slide], field_l0=field, stride_l0=float(stride), rule=TissueRule.everything()).frame
    assert len(strides) == columns**2


def test_a_slide_not_quite_twice_the_field_gets_one_tile() -> None:
    slide = ArraySlide(np.zeros((1000, 1100, 3), np.uint8), path="any.tif")
    frame = find_tiles([slide], field_l0=1024, rule=TissueRule.everything()).frame
    assert frame[["x_l0", "y_l0"]].to_numpy().tolist() == [[38, -12]]


def test_the_padding_of_a_small_slide_is_not_tissue() -> None:
    slide = ArraySlide(np.full((128, 256, 3), PURPLE, np.uint8), path="small.tif")
    frame = find_tiles([slide], field_l0=256, rule=STUDY).frame
    assert frame["tissue"].tolist() == [0.5]


def test_several_slides_go_into_one_table() -> None:
    table = find_tiles([slide_with_tissue("a.tif"), slide_with_tissue("b.tif")], field_l0=256, rule=STUDY)
    assert table.frame["slide"].tolist() == ["a", "a", "b", "b"]


def test_several_fields_are_those_of_several_calls() -> None:
    slide = slide_with_tissue()
    for rule in (STUDY, RECOMMENDED):
        table = find_tiles([slide], field_l0=[512, 128], rule=rule, overlap=0.25)
        calls = [
            find_tiles([slide], field_l0=512, rule=rule, stride_l0=384),
            find_tiles([slide], field_l0=128, rule=rule, stride_l0=96),
        ]
        assert set(table.frame["field_l0"]) == {128, 512}
        pd.testing.assert_frame_equal(table.frame, TileTable.concat(calls).frame)


@given(size=st.tuples(st.integers(50, 400), st.integers(50, 400)), field=st.integers(20, 500))
def test_half_shifts_add_the_grid_moved_in_x_in_y_and_in_both(size: tuple[int, int], field: int) -> None:
    slide = ArraySlide(np.zeros((size[1], size[0], 3), np.uint8), path="any.tif")
    everything = TissueRule.everything()
    plain, shifted = (
        find_tiles([slide], field_l0=field, rule=everything, half_shifts=half_shifts).frame
        for half_shifts in (False, True)
    )
    half = field // 2
    wanted = {
        (x + dx, y + dy)
        for x, y in zip(plain["x_l0"], plain["y_l0"], strict=True)
        for dx in (0, half)
        for dy in (0, half)
        if (not dx or x + dx + field <= size[0]) and (not dy or y + dy + field <= size[1])
    }
    found = list(zip(shifted["x_l0"], shifted["y_l0"], strict=True))
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_patients_are_named_by_a_mapping_or_a_function() -> None:
    slides = [slide_with_tissue("p1-a.tif"), slide_with_tissue("p1-b.tif")]
    for patient_of in ({"p1-a": "p1", "p1-b": "p1", "other": "p2"}, lambda name: name.split("-")[0]):
        frame = find_tiles(slides, field_l0=512, rule=STUDY, patient_of=patient_of).frame
        assert set(frame["patient"]) == {"p1"}
        assert set(frame["slide"]) == {"p1-a", "p1-b"}
    with pytest.raises(SlideError, match="patient of slide 'p1-b' is not known"):
        find_tiles(slides, field_l0=512, rule=STUDY, patient_of={"p1-a": "p1"})


def test_pen_marks_and_dust_make_no_tiles() -> None:
    slide = slide_with_tissue()
    image = slide.read((0, 0), slide.size_l0, slide.size_l0)
    image[520:760, 20:240] = (215, 40, 60)
    image[560:700, 300:500] = (40, 80, 170)
    image[600:620, 800:830] = PURPLE
    dirty = ArraySlide(image, path=slide.path)
    assert len(find_tiles([dirty], field_l0=128, rule=TissueRule(), min_tissue=0.02)) > 12
    clean = find_tiles([dirty], field_l0=128, rule=RECOMMENDED, min_tissue=0.02)
    wanted = find_tiles([slide], field_l0=128, rule=RECOMMENDED, min_tissue=0.02)
    pd.testing.assert_frame_equal(clean.frame, wanted.frame)


def test_tissue_is_that_of_the_slide_as_a_whole(picture: np.ndarray) -> None:
    rule = TissueRule(0.6, 0.3, reject_pen=True, min_area_l0=30, max_hole_l0=30)
    slide = ArraySlide(picture[:448, :640], path="any.tif")
    mask = tissue_mask(slide.read((0, 0), (640, 448), (320, 224)), rule, scale_l0=2)
    assert 0.02 < mask.mean() < 0.98
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "_TILES_PER_BAND", 20)
        frame = find_tiles([slide], field_l0=64, rule=rule, min_tissue=0).frame
    assert len(frame) == 10 * 7
    for x, y, tissue in zip(frame["x_l0"], frame["y_l0"], frame["tissue"], strict=True):
        assert tissue == mask[y // 2 : y // 2 + 32, x // 2 : x // 2 + 32].mean()


@pytest.mark.parametrize("field", [64, 100])
def test_pens_are_found_in_bands_of_rows_as_in_the_whole(picture: np.ndarray, field: int) -> None:
    image = np.tile(picture, (4, 1, 1))
    image[200:280, 100:600] = (215, 40, 60)
    image[1100:1400, 300:380] = (40, 80, 170)
    rule = TissueRule(0.6, 0.3, reject_pen=True)
    slide = ArraySlide(image, path="any.tif")
    tables = {}
    for margins in (1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_MARGINS_PER_BAND", margins)
            patch.setattr(pen, "MAX_BAND_PX", 2**24 if margins > 1 else 1)
            tables[margins] = find_tiles([slide], field_l0=field, rule=rule, min_tissue=0).frame
    pd.testing.assert_frame_equal(tables[1], tables[1000], rtol=0, atol=0 if field == 64 else 0.005)  # fractions round
    without = find_tiles([slide], field_l0=field, rule=TissueRule(0.6, 0.3), min_tissue=0).frame
    assert (without["tissue"] - tables[1]["tissue"]).max() > 0.2


def test_otsu_s_limit_is_one_for_a_whole_slide() -> None:
    slide, rule = slide_with_tissue(), TissueRule(kind="otsu")
    found = find_tiles([slide], field_l0=256, rule=rule)
    wanted = find_tiles([slide], field_l0=256, rule=resolve_rule(rule, slide))
    pd.testing.assert_frame_equal(found.frame, wanted.frame)
    assert len(found) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"field_l0": 0},
        {"field_l0": []},
        {"field_l0": [9, 9]},
        {"field_l0": 9, "stride_l0": 0},
        {"field_l0": 9, "min_tissue": 5},
        {"field_l0": 9, "overlap": 1.0},
        {"field_l0": 9, "overlap": 0.5, "stride_l0": 4},
        {"field_l0": [9, 18], "stride_l0": 4},
    ],
)
def test_senseless_numbers_are_refused(wrong: dict) -> None:
    with pytest.raises(SlideError, match="wanted"):
        find_tiles([slide_with_tissue()], rule=STUDY, **wrong)


def test_a_slide_needs_a_path_to_be_tabled() -> None:
    with pytest.raises(SlideError, match="path"):
        find_tiles([ArraySlide(np.zeros((9, 9, 3), np.uint8))], field_l0=9, rule=STUDY)


@pytest.mark.real_data
def test_tiles_of_a_real_slide_lie_on_its_tissue(real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        frame = find_tiles([slide], field_l0=256, rule=STUDY, min_tissue=0.3).frame
        assert 10 < len(frame) < 8 * 11
        darkness = [255 - slide.read((x, y), 256, 16).mean() for x, y in zip(frame["x_l0"], frame["y_l0"], strict=True)]
        assert min(darkness) > 255 - np.mean(slide.background)
