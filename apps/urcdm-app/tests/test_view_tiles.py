from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from urcdm_app.view.description import read_description, read_objective_power
from urcdm_app.view.shown import open_to_show
from urcdm_app.view.tiles import DeepZoom, encode_png, read_tile
from wsi_tiling import ArraySlide, PyramidWriter

SIDES = st.integers(1, 150)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.integers(8, 40), st.integers(0, 3), st.integers(0, 3))
def test_the_tiles_of_a_level_without_their_overlaps_are_the_slide_at_that_scale(
    width: int, height: int, tile_px: int, overlap_px: int, levels_down: int
) -> None:
    slide, pyramid = ArraySlide(noise(width, height)), DeepZoom((width, height), tile_px, overlap_px)
    level = max(0, pyramid.max_level - levels_down)
    factor, (across, down) = pyramid.downsample(level), pyramid.level_px(level)
    joined = np.zeros((down, across, 3), np.uint8)
    for row in range(-(-down // tile_px)):
        for column in range(-(-across // tile_px)):
            tile = read_tile(slide, pyramid, level, column, row)
            x, y = column * tile_px, row * tile_px
            inner = tile[overlap_px if row else 0 :, overlap_px if column else 0 :][:tile_px, :tile_px]
            joined[y : y + tile_px, x : x + tile_px] = inner
    whole = slide.read((0, 0), (across * factor, down * factor), (across, down))
    assert np.abs(joined.astype(int) - whole).max() <= 1


def test_tiles_at_full_size_are_the_slides_pixels_with_those_of_the_neighbours() -> None:
    image = noise(600, 300)
    pyramid = DeepZoom((600, 300), 252, 2)
    assert pyramid.max_level == 10
    np.testing.assert_array_equal(read_tile(ArraySlide(image), pyramid, 10, 0, 0), image[:254, :254])
    np.testing.assert_array_equal(read_tile(ArraySlide(image), pyramid, 10, 1, 1), image[250:, 250:506])
    np.testing.assert_array_equal(read_tile(ArraySlide(image), pyramid, 10, 2, 0), image[:254, 502:])


def test_levels_halve_from_full_size_to_one_pixel() -> None:
    pyramid = DeepZoom((600, 37))
    sizes = [pyramid.level_px(level) for level in range(pyramid.max_level + 1)]
    assert sizes[-1] == (600, 37)
    assert sizes[-2] == (300, 19)
    assert sizes[0] == (1, 1)
    assert DeepZoom((1, 1)).max_level == 0
    assert DeepZoom((512, 512)).max_level == 9
    assert DeepZoom((513, 512)).max_level == 10


@pytest.mark.parametrize("place", [(-1, 0, 0), (11, 0, 0), (10, 3, 0), (10, 0, 2), (10, -1, 0), (10, 0, -1), (0, 1, 0)])
def test_there_are_no_tiles_outside(place: tuple[int, int, int]) -> None:
    assert read_tile(ArraySlide(noise(600, 300)), DeepZoom((600, 300)), *place) is None


def test_coding_a_tile_keeps_every_pixel(tmp_path: Path) -> None:
    image = noise(60, 40)
    (tmp_path / "tile.png").write_bytes(encode_png(image))
    with Image.open(tmp_path / "tile.png") as coded:
        np.testing.assert_array_equal(np.asarray(coded), image)


def write_slide(path: Path, description: str, objective: float | None = None) -> None:
    with PyramidWriter(path, (64, 48), mpp=0.5, objective=objective, description=description) as writer:
        writer.write((0, 0), noise(64, 48))


def test_descriptions_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    picture, words = Image.fromarray(noise(20, 10)), PngInfo()
    write_slide(tmp_path / "plain.tiff", "Drawn by a model.\nSeed 7.")
    write_slide(tmp_path / "aperio.svs", "Drawn by a model.", objective=20)
    words.add_text("Description", "Drawn  by a model.")
    picture.save(tmp_path / "picture.png", pnginfo=words)
    picture.save(tmp_path / "picture.jpg", comment=b"Drawn by a model.")
    assert read_description(tmp_path / "plain.tiff") == "Drawn by a model.\nSeed 7."
    for name in ("aperio.svs", "picture.png", "picture.jpg"):
        assert read_description(tmp_path / name) == "Drawn by a model."


def test_descriptions_for_programs_are_not_shown(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(20, 10))
    for text in ('{"shape": [10, 20, 3]}', "<?xml version='1.0'?><OME/>"):
        picture.save(tmp_path / "picture.tiff", description=text)
        assert read_description(tmp_path / "picture.tiff") == ""
    picture.save(tmp_path / "picture.png")
    assert read_description(tmp_path / "picture.png") == ""


def test_magnification_is_the_files_else_that_of_the_pixels_size(tmp_path: Path) -> None:
    write_slide(tmp_path / "stated.svs", "", objective=40)
    write_slide(tmp_path / "sized.tiff", "")
    Image.fromarray(noise(20, 10)).save(tmp_path / "unknown.png")
    assert read_objective_power(tmp_path / "stated.svs") == 40
    found = [open_to_show(tmp_path / name, 0).magnification for name in ("stated.svs", "sized.tiff", "unknown.png")]
    assert found == [40, pytest.approx(20), None]


def test_a_changed_file_has_another_key(tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    write_slide(path, "one")
    first = open_to_show(path, 0).key
    assert open_to_show(path, 0).key == first
    assert open_to_show(path, 1).key != first
    path.unlink()
    write_slide(path, "another")
    assert open_to_show(path, 0).key != first
