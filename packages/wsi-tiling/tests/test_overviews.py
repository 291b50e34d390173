from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wsi_tiling import STUDY, ArraySlide, TileTable, TissueRule, find_tiles, overview
from wsi_tiling.tables.overviews import FIELD_COLOURS, TISSUE_COLOUR

GLASS, PURPLE = (242, 243, 242), (110, 60, 150)
EVERYTHING = TissueRule.everything()


def slide_with_tissue() -> ArraySlide:
    """1024 x 768 px of glass with tissue over tiles (0, 0) and the left half of (2, 1), at 256 px a tile."""
    image = np.full((768, 1024, 3), GLASS, np.uint8)
    image[:256, :256] = PURPLE
    image[256:512, 512:640] = PURPLE
    return ArraySlide(image, path=Path("slides") / "first.tif")


def tiles(places: list[tuple[int, int]], field_l0: float, path: str = "slides/first.tif") -> TileTable:
    frame = pd.DataFrame(places, columns=["x_l0", "y_l0"])
    return TileTable(
        frame.assign(patient="p", slide="first", path=str(Path(path)), field_l0=field_l0, tissue=1.0, split="train")
    )


def coloured(drawing: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (drawing == colour).all(axis=2)


def test_an_overview_shows_tissue_and_tiles() -> None:
    slide = slide_with_tissue()
    drawing = overview(slide, find_tiles([slide], field_l0=256, rule=STUDY), STUDY, 256)
    assert drawing.shape == (192, 256, 3)
    assert (drawing[90, 128] == (0, 0, 220)).all()
    assert (drawing[90, 159] == (0, 160, 0)).all()
    assert (drawing[180, 200] == GLASS).all()


def test_only_the_slide_s_own_tiles_are_drawn() -> None:
    slide = slide_with_tissue()
    plain = overview(slide, TileTable.concat([]), STUDY, 256)
    np.testing.assert_array_equal(overview(slide, tiles([(0, 0)], 256, "other.tif"), STUDY, 256), plain)
    assert coloured(plain, TISSUE_COLOUR).any()


def test_where_everything_counts_nothing_is_outlined() -> None:
    slide = slide_with_tissue()
    drawing = overview(slide, TileTable.concat([]), EVERYTHING, 256)
    np.testing.assert_array_equal(drawing, slide.read((0, 0), slide.size_l0, (256, 192)))


def test_tissue_is_not_outlined_along_the_edge_of_the_slide() -> None:
    drawing = overview(slide_with_tissue(), TileTable.concat([]), STUDY, 256)
    assert not coloured(drawing, TISSUE_COLOUR)[:62, 0].any()
    assert coloured(drawing, TISSUE_COLOUR)[20, 63]


def test_each_field_has_its_colour_and_a_line_that_tells_them() -> None:
    table = TileTable.concat([tiles([(0, 0), (512, 256)], 256), tiles([(256, 0)], 512)])
    drawing = overview(slide_with_tissue(), table, STUDY, 256)
    small, large = (coloured(drawing, colour) for colour in FIELD_COLOURS[:2])
    assert drawing.shape[0] > 192
    assert drawing.shape[1:] == (256, 3)
    assert small[:192].any()
    assert large[:192, 64:194].any()
    assert not large[:192, 200:].any()
    assert small[192:].any()
    assert large[192:].any()


def test_one_small_tile_on_a_large_slide_is_found() -> None:
    slide = ArraySlide(np.full((2000, 3000, 3), GLASS, np.uint8), path="slides/first.tif")
    drawing = overview(slide, tiles([(1500, 1000)], 12), STUDY, 300)
    rows, cols = np.nonzero(coloured(drawing, FIELD_COLOURS[0]))
    assert 10 < np.ptp(rows) < 20
    assert abs(rows.mean() - 100.6) < 2
    assert abs(cols.mean() - 150.6) < 2


def test_thousands_of_tiles_leave_the_slide_to_be_seen() -> None:
    image = np.full((1200, 1200, 3), GLASS, np.uint8)
    image[400:800, 400:800] = PURPLE
    slide = ArraySlide(image, path="slides/first.tif")
    places = [(x, y) for x in range(0, 1200, 12) for y in range(0, 1200, 12)]
    drawing = overview(slide, tiles(places, 12), STUDY, 400).astype(int)
    assert np.abs(drawing[60, 60] - drawing[200, 200]).max() > 60
    assert (drawing[60, 60] != GLASS).any()


def test_a_field_larger_than_the_slide_is_framed_at_its_edge() -> None:
    drawing = overview(slide_with_tissue(), tiles([(-500, -600)], 2000), EVERYTHING, 256)
    frame = coloured(drawing, FIELD_COLOURS[0])
    assert frame[0].all()
    assert frame[-1].all()
    assert frame[:, 0].all()
    assert frame[:, -1].all()
    assert not frame[10:-10, 10:-10].any()


@pytest.mark.parametrize("size", [(1, 1), (4000, 3), (3, 4000)])
def test_slides_of_any_shape_are_drawn(size: tuple[int, int]) -> None:
    slide = ArraySlide(np.full((size[1], size[0], 3), PURPLE, np.uint8), path="slides/first.tif")
    table = TileTable.concat([tiles([(0, 0)], 3), tiles([(0, 0)], 100)])
    drawing = overview(slide, table, STUDY, 100)
    assert drawing.dtype == np.uint8
    assert drawing.shape[1] == max(1, round(100 * size[0] / max(size)))
