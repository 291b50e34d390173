from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskcond import (
    KIDNEY,
    AnnotationError,
    Instances,
    MaskError,
    Outline,
    Polygon,
    draw_instances,
    draw_labels,
    read_instances,
    trace_outlines,
)

maps = arrays.arrays(
    np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10), elements=st.integers(0, 3)
)


def square(left, top, side):
    return np.array([(left, top), (left + side, top), (left + side, top + side), (left, top + side)], float)


@settings(max_examples=200, deadline=None)
@given(maps)
def test_traced_outlines_draw_the_same_pixels_again(instances) -> None:
    outlines = trace_outlines(instances)
    numbers = np.unique(instances[instances > 0])
    assert len(outlines) == len(numbers)
    drawn = draw_instances(outlines, instances.shape)
    np.testing.assert_array_equal(np.concatenate([[0], numbers])[drawn], instances)


def test_nuclei_draw_the_same_pixels_again(nuclei: Instances) -> None:
    drawn = draw_instances(trace_outlines(nuclei), nuclei.shape)
    np.testing.assert_array_equal(np.unique(nuclei)[drawn], nuclei)


@pytest.mark.real_data
def test_real_nuclei_draw_the_same_pixels_again(kumar_folder: Path) -> None:
    instances = read_instances(kumar_folder / "instances" / "TCGA-AR-A1AK-01Z-00-DX1.png", (1000, 1000))
    np.testing.assert_array_equal(draw_instances(trace_outlines(instances), instances.shape), instances)


def test_a_pixel_belongs_to_an_object_if_its_centre_does() -> None:
    drawn = draw_instances([Outline((Polygon(square(1.4, 0.6, 2)),))], (4, 5))
    wanted = np.zeros((4, 5))
    wanted[1:3, 1:3] = 1  # centres at 1.5 and 2.5
    np.testing.assert_array_equal(drawn, wanted)


def test_holes_and_pieces_are_drawn_and_traced() -> None:
    outline = Outline((Polygon(square(1, 1, 6), (square(3, 3, 2),)), Polygon(square(8, 2, 2))), "glomeruli")
    drawn = draw_instances([outline], (8, 11))
    wanted = np.zeros((8, 11))
    wanted[1:7, 1:7] = wanted[2:4, 8:10] = 1
    wanted[3:5, 3:5] = 0
    np.testing.assert_array_equal(drawn, wanted)
    (traced,) = trace_outlines(drawn, "glomeruli")
    assert [len(polygon.holes) for polygon in traced.polygons] == [1, 0]
    assert traced.class_name == "glomeruli"
    np.testing.assert_array_equal(draw_labels([traced], (8, 11), KIDNEY), wanted * 4)


def test_what_lies_in_a_hole_is_left_alone() -> None:
    inner = Outline((Polygon(square(3, 3, 2)),), "arteries")
    ring = Outline((Polygon(square(1, 1, 6), (square(3, 3, 2),)),), "tubuli")
    labels = draw_labels([inner, ring], (8, 8), KIDNEY)
    assert (labels[3:5, 3:5] == 3).all()
    assert np.count_nonzero(labels == 1) == 32


def test_where_outlines_overlap_the_later_one_is_seen() -> None:
    drawn = draw_instances([Outline((Polygon(square(0, 0, 4)),)), Outline((Polygon(square(2, 2, 4)),))], (6, 6))
    assert drawn[3, 3] == 2
    assert drawn[1, 1] == 1


def test_each_object_can_have_its_class() -> None:
    outlines = trace_outlines(np.array([[5, 0, 9]]), {5: "arteries", 9: "tubuli"})
    assert [outline.class_name for outline in outlines] == ["arteries", "tubuli"]


def test_outlines_over_the_edge_are_cut_off_there() -> None:
    drawn = draw_instances([Outline((Polygon(square(-3, -3, 5)),))], (6, 6))
    assert np.count_nonzero(drawn) == 4
    assert np.count_nonzero(draw_instances([Outline((Polygon(square(-1e6, -1e6, 2e6)),))], (6, 6))) == 36


def test_outlines_that_enclose_nothing_leave_their_number_unused() -> None:
    nothing = [Outline(()), Outline((Polygon(np.empty((0, 2))),)), Outline((Polygon(square(1, 1, 1)[:2]),))]
    drawn = draw_instances([*nothing, Outline((Polygon(square(0, 0, 2)),))], (3, 3))
    assert set(np.unique(drawn)) == {0, 4}


def test_an_outline_outside_the_image_is_named() -> None:
    outlines = [Outline((Polygon(square(0, 0, 2)),)), Outline((Polygon(square(700, 10, 40)),))]
    message = "outline 2 lies outside the image of 600 x 500 px: it spans x 700 to 740, y 10 to 50"
    with pytest.raises(AnnotationError, match=message):
        draw_instances(outlines, (500, 600))


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(AnnotationError, match="outline 1: unknown class 'vein'; known are tubuli"):
        draw_labels([Outline((Polygon(square(0, 0, 2)),), "vein")], (4, 4), KIDNEY)
    with pytest.raises(MaskError, match="whole numbers"):
        trace_outlines(np.zeros((2, 2)))
