import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_tiling import ArraySlide
from wsi_tiling.viewer import DeepZoom, encode_png, read_tile

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


def test_coding_a_tile_keeps_every_pixel() -> None:
    image = noise(60, 40)
    with PIL.Image.open(io.BytesIO(encode_png(image))) as coded:
        np.testing.assert_array_equal(np.asarray(coded), image)


def test_a_site_serves_the_viewers_scripts_beside_its_own() -> None:
    flask = pytest.importorskip("flask")
    from wsi_tiling.viewer import viewer_files

    app = flask.Flask("site")
    app.register_blueprint(viewer_files)
    browser = app.test_client()
    for name in ("pane.js", "link.js", "controls.js", "openseadragon/openseadragon.min.js"):
        with browser.get(f"/static/viewer/{name}") as response:
            assert response.status_code == 200
            assert response.mimetype == "text/javascript"
