import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import ArraySlide, Image, read_concentric


def test_fields_share_their_centre(picture: Image) -> None:
    slide = ArraySlide(picture)
    small, large = read_concentric(slide, (301.5, 250.5), [64, (128, 128)], 64)
    np.testing.assert_array_equal(small, slide.read((269.5, 218.5), 64, 64))
    np.testing.assert_array_equal(large, slide.read((237.5, 186.5), 128, 64))


def test_the_centre_of_a_large_field_shows_the_small_one() -> None:
    y, x = np.mgrid[:1000, :1000]
    smooth = np.stack([x / 4, y / 4, (x + y) / 8], axis=-1).astype(np.uint8)
    small, large = read_concentric(ArraySlide(smooth), (510.25, 433.75), [128, 512], 128)
    np.testing.assert_allclose(
        large[48:80, 48:80].astype(int), small.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3)), atol=2
    )


def test_a_field_may_leave_the_slide(picture: Image) -> None:
    slide = ArraySlide(picture, background=(0, 0, 0))
    (field,) = read_concentric(slide, (350, 250), [2000], (40, 40))
    assert (field[0] == 0).all()
    assert field[20, 20].any()


@given(
    centre=st.tuples(st.floats(-300, 1000), st.floats(-300, 800)),
    fields=st.lists(st.floats(1, 3000), max_size=6),
    size=st.integers(1, 40),
)
def test_any_number_of_fields_is_what_direct_reads_give(
    picture: Image, centre: tuple[float, float], fields: list[float], size: int
) -> None:
    slide = ArraySlide(picture)
    images = read_concentric(slide, centre, fields, size)
    assert len(images) == len(fields)
    for field, image in zip(fields, images, strict=True):
        corner = (centre[0] - field / 2, centre[1] - field / 2)
        np.testing.assert_array_equal(image, slide.read(corner, field, size))
