import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import STUDY, ArraySlide, SlideError, whole_slide_fields

GLASS, PURPLE = (242, 243, 242), (110, 60, 150)
sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))


def slide_of(size: tuple[int, int]) -> ArraySlide:
    return ArraySlide(np.full((size[1], size[0], 3), PURPLE, np.uint8), background=GLASS, path="any.tif")


@given(size=sizes, field=st.integers(1, 1000))
def test_one_field_is_centred_on_the_slide(size: tuple[int, int], field: int) -> None:
    frame = whole_slide_fields(slide_of(size), field).frame
    assert len(frame) == 1
    for name, length in (("x_l0", size[0]), ("y_l0", size[1])):
        before, after = frame[name][0], length - (frame[name][0] + field)
        assert after - before in (0, 1)


@given(size=sizes, field=st.integers(30, 1000))
def test_fields_cover_a_larger_slide_and_overlap_evenly(size: tuple[int, int], field: int) -> None:
    frame = whole_slide_fields(slide_of(size), field, larger="cover").frame
    for name, length in (("x_l0", size[0]), ("y_l0", size[1])):
        begins = sorted(set(frame[name]))
        assert len(begins) == max(1, -(-length // field))
        if length <= field:
            continue
        assert (begins[0], begins[-1] + field) == (0, length)
        overlaps = [before + field - after for before, after in pairwise(begins)]
        assert min(overlaps) >= 0
        assert max(overlaps) - min(overlaps) <= 1


@pytest.mark.parametrize(("length", "field"), [(512, 102.4), (33, 3.3), (7, 0.7), (999, 99.9), (1025, 102.4)])
def test_as_few_fields_as_cover_the_slide_are_counted_exactly(length: int, field: float) -> None:
    frame = whole_slide_fields(slide_of((length, 1)), field, larger="cover").frame
    assert len(frame) == math.ceil(length / Fraction(str(field))) * math.ceil(1 / Fraction(str(field)))


def test_a_smaller_slide_keeps_its_scale_and_has_background_round_it() -> None:
    slide = slide_of((100, 60))
    x, y = whole_slide_fields(slide, 200).frame[["x_l0", "y_l0"]].iloc[0]
    image = slide.read((x, y), 200, 200)
    assert (image[70:130, 50:150] == PURPLE).all()
    assert (image == PURPLE).all(axis=2).sum() == 100 * 60
    assert (image[0] == GLASS).all()


def test_fields_without_tissue_are_left_out_if_asked() -> None:
    image = np.full((100, 1000, 3), GLASS, np.uint8)
    image[:, :300] = PURPLE
    slide = ArraySlide(image, path="any.tif")
    frame = whole_slide_fields(slide, 100, larger="cover", rule=STUDY, min_tissue=0.5, patient_of={"any": "p"}).frame
    assert frame["x_l0"].tolist() == [0, 100, 200]
    assert frame["patient"].unique().tolist() == ["p"]
    np.testing.assert_allclose(frame["tissue"], 1)


@pytest.mark.parametrize("wrong", [{"field_l0": 0}, {"larger": "shrink"}, {"min_tissue": 2}])
def test_senseless_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(SlideError, match="wanted"):
        whole_slide_fields(slide_of((9, 9)), **({"field_l0": 9} | wrong))
