import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image as PilImage

from wsi_tiling import Image, read_region
from wsi_tiling.region import block_mean

FILL = (10, 200, 90)
sides = st.integers(1, 40)
places = st.floats(-1e6, 1e6) | st.floats(-100, 200)
fields = st.floats(0.5, 1e7) | st.floats(0.5, 300)


def overlap(begin: float, scale: float, count: int, length: int) -> np.ndarray:
    """Share of each of `count` pixels that [0, length] covers."""
    edges = begin + scale * np.arange(count + 1)
    return np.clip(np.minimum(edges[1:], length) - np.maximum(edges[:-1], 0), 0, None) / scale


@given(x=st.integers(-900, 900), y=st.integers(-900, 900), width=st.integers(1, 300), height=st.integers(1, 300))
def test_a_box_of_whole_pixels_at_its_own_size_comes_back_as_it_is(
    picture: Image, x: int, y: int, width: int, height: int
) -> None:
    expected = np.full((height, width, 3), FILL, np.uint8)
    inside = picture[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    top, left = max(-y, 0), max(-x, 0)
    if inside.size:
        expected[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    got = read_region(picture, (x, y, x + width, y + height), (width, height), FILL)
    np.testing.assert_array_equal(got, expected)


@given(x=places, y=places, width=fields, height=fields, size=st.tuples(sides, sides))
def test_each_pixel_mixes_the_picture_and_the_fill_by_the_area_covered(
    x: float, y: float, width: float, height: float, size: tuple[int, int]
) -> None:
    colour = np.array([250, 0, 130])
    plain = np.full((70, 90, 3), colour, np.uint8)
    across, down = overlap(x, width / size[0], size[0], 90), overlap(y, height / size[1], size[1], 70)
    share = (down[:, None] * across)[..., None]
    got = read_region(plain, (x, y, x + width, y + height), size, FILL)
    np.testing.assert_allclose(got, share * colour + (1 - share) * np.array(FILL), atol=1)


@given(x=st.floats(80, 300), width=st.floats(2, 300), size=st.integers(1, 100))
def test_a_ramp_is_read_at_its_exact_position(x: float, width: float, size: int) -> None:
    scale = width / size
    assume(scale < 60)
    ramp = np.repeat(np.repeat(np.arange(700)[None, :, None] * 255 / 700, 3, axis=2), 500, axis=0)
    got = read_region(ramp.round().astype(np.uint8), (x, 90, x + width, 90 + width), size, FILL)
    centres = x + scale * (np.arange(size) + 0.5) - 0.5
    np.testing.assert_allclose(got[size // 2, :, 0], centres * 255 / 700, atol=1.1)


@given(
    x=st.floats(-300, 700),
    y=st.floats(-300, 500),
    scale=st.floats(0.2, 30),
    widths=st.tuples(sides, sides),
    height=sides,
)
def test_adjoining_boxes_agree_with_one_box_over_both(
    picture: Image, x: float, y: float, scale: float, widths: tuple[int, int], height: int
) -> None:
    middle, right, bottom = x + scale * widths[0], x + scale * sum(widths), y + scale * height
    whole = read_region(picture, (x, y, right, bottom), (sum(widths), height), FILL)
    parts = [
        read_region(picture, (x, y, middle, bottom), (widths[0], height), FILL),
        read_region(picture, (middle, y, right, bottom), (widths[1], height), FILL),
    ]
    np.testing.assert_allclose(whole.astype(int), np.hstack(parts), atol=1)


@pytest.mark.parametrize("size", [(350, 250), (123, 77), (1400, 1000), (90, 64)])
def test_the_whole_picture_is_resampled_as_pillow_does(picture: Image, size: tuple[int, int]) -> None:
    got = read_region(picture, (0, 0, 700, 500), size, FILL)
    method = PilImage.Resampling.HAMMING if size[0] < 700 else PilImage.Resampling.BILINEAR
    pillow = np.asarray(PilImage.fromarray(picture).resize(size, method))
    # Where an output pixel is as wide as many source pixels, blocks of them are averaged first.
    np.testing.assert_allclose(got[2:-2, 2:-2].astype(int), pillow[2:-2, 2:-2], atol=1 if size[0] > 90 else 3)


def test_the_fill_does_not_bleed_into_the_picture() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)
    for size in (7, 60, 200):
        assert (read_region(white, (0, 0, 60, 60), size, (0, 0, 0)) == 255).all()


def test_a_box_far_outside_costs_nothing(picture: Image) -> None:
    assert (read_region(picture, (1e12, -1e12, 1e12 + 50, 10 - 1e12), (20, 30), FILL) == FILL).all()
    vast = read_region(picture, (-1e12, -1e12, 1e12, 1e12), 64, FILL)
    assert (vast == FILL).all()


def test_block_means_are_those_of_the_pixels(picture: Image) -> None:
    means = picture.reshape(125, 4, 140, 5, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(block_mean(picture, (5, 4)), means, atol=0.51)


@pytest.mark.parametrize(
    ("box", "size", "what"),
    [
        ((0, 0, 0, 5), 4, "box"),
        ((0, 0, float("nan"), 5), 4, "box"),
        ((0, 0, 5, 5), 0, "size"),
        ((5, 0, 1, 5), 4, "box"),
    ],
)
def test_a_senseless_box_is_refused(
    picture: Image, box: tuple[float, float, float, float], size: int, what: str
) -> None:
    with pytest.raises(ValueError, match=f"wanted a {what}"):
        read_region(picture, box, size, FILL)


def test_a_picture_of_the_wrong_kind_is_refused(picture: Image) -> None:
    for wrong in (picture[..., 0], picture.astype(float), picture[:0]):
        with pytest.raises(ValueError, match="wanted an image"):
            read_region(wrong, (0, 0, 5, 5), 5, FILL)
