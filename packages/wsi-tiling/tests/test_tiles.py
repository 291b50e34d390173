from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import STUDY, ArraySlide, SlideError, TileTable, TissueRule, find_tiles, open_slide, overview

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


def test_a_table_survives_saving(tmp_path: Path) -> None:
    table = find_tiles([slide_with_tissue()], field_l0=256, rule=STUDY)
    for one in (table, TileTable.concat([])):
        one.save(tmp_path / "tiles.parquet")
        pd.testing.assert_frame_equal(TileTable.load(tmp_path / "tiles.parquet").frame, one.frame)
    assert [path.name for path in tmp_path.iterdir()] == ["tiles.parquet"]


def test_what_is_no_tile_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiles.parquet"
    with pytest.raises(SlideError, match="no such file"):
        TileTable.load(path)
    path.write_text("text")
    with pytest.raises(SlideError, match="is no tile table"):
        TileTable.load(path)
    frame = find_tiles([slide_with_tissue()], field_l0=256, rule=STUDY).frame
    frame.drop(columns="tissue").to_parquet(path)
    with pytest.raises(SlideError, match=r"without columns \['tissue'\]"):
        TileTable.load(path)
    frame.assign(x_l0="left").to_parquet(path)
    with pytest.raises(SlideError, match="wrong kind"):
        TileTable.load(path)


def test_a_table_is_not_saved_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="cannot be written"):
        TileTable.concat([]).save(tmp_path / "nowhere" / "tiles.parquet")


@pytest.mark.parametrize("wrong", [{"field_l0": 0}, {"field_l0": 9, "stride_l0": 0}, {"field_l0": 9, "min_tissue": 5}])
def test_senseless_numbers_are_refused(wrong: dict) -> None:
    with pytest.raises(SlideError, match="wanted"):
        find_tiles([slide_with_tissue()], rule=STUDY, **wrong)


def test_a_slide_needs_a_path_to_be_tabled() -> None:
    with pytest.raises(SlideError, match="path"):
        find_tiles([ArraySlide(np.zeros((9, 9, 3), np.uint8))], field_l0=9, rule=STUDY)


def test_an_overview_shows_tissue_and_tiles() -> None:
    slide = slide_with_tissue()
    drawing = overview(slide, find_tiles([slide], field_l0=256, rule=STUDY), STUDY, 256)
    assert drawing.shape == (192, 256, 3)
    assert (drawing[90, 128] == (0, 0, 220)).all()
    assert (drawing[90, 159] == (0, 160, 0)).all()
    assert (drawing[180, 200] == GLASS).all()


@pytest.mark.real_data
def test_tiles_of_a_real_slide_lie_on_its_tissue(real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        frame = find_tiles([slide], field_l0=256, rule=STUDY, min_tissue=0.3).frame
        assert 10 < len(frame) < 8 * 11
        darkness = [255 - slide.read((x, y), 256, 16).mean() for x, y in zip(frame["x_l0"], frame["y_l0"], strict=True)]
        assert min(darkness) > 255 - np.mean(slide.background)
