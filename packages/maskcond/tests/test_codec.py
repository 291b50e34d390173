import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskcond import KIDNEY, KUMAR, KUMAR_BORDER, ClassSet, MaskClass, MaskCodec, MaskError, resize_by_area

KIDNEY_CODEC = MaskCodec(KIDNEY)
sizes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
kidney_labels = arrays.arrays(np.uint8, sizes, elements=st.integers(0, 4))


def test_the_class_sets_are_those_of_the_method() -> None:
    assert KIDNEY.names == ("tubuli", "veins and indeterminate vessels", "arteries", "glomeruli")
    assert KUMAR.names == ("nuclei",)
    assert KUMAR_BORDER.names == ("nuclei", "border")
    assert KIDNEY.number("arteries") == 3


@given(kidney_labels)
def test_labels_survive_every_form(labels) -> None:
    channels = KIDNEY_CODEC.encode(labels)
    assert channels.shape == (4, *labels.shape)
    assert channels.dtype == np.float32
    np.testing.assert_array_equal(channels.sum(axis=0), labels > 0)
    np.testing.assert_array_equal(KIDNEY_CODEC.decode(channels), labels)
    np.testing.assert_array_equal(KIDNEY_CODEC.join(KIDNEY_CODEC.split(labels)), labels)
    np.testing.assert_array_equal(KIDNEY_CODEC.read_colours(KIDNEY_CODEC.paint(labels)), labels)


@given(kidney_labels, st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_resizing_keeps_the_share_of_every_class(labels, size_px) -> None:
    channels = KIDNEY_CODEC.encode(labels)
    resized = KIDNEY_CODEC.resize(channels, size_px)
    assert resized.shape == (4, *size_px)
    np.testing.assert_allclose(resized.mean(axis=(1, 2)), channels.mean(axis=(1, 2)), atol=1e-5)
    assert resized.min() >= 0
    assert resized.sum(axis=0).max() <= 1 + 1e-5


def test_each_small_pixel_holds_the_mean_of_its_area() -> None:
    channels = np.random.default_rng(0).random((2, 12, 8), np.float32)
    blocks = channels.reshape(2, 4, 3, 2, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(resize_by_area(channels, (4, 2)), blocks, rtol=1e-5)
    # Three pixels become two: each takes one and a half.
    np.testing.assert_allclose(resize_by_area(np.float32([[[3, 6, 9]]]), (1, 2)), [[[4, 8]]], rtol=1e-6)


def test_labels_survive_being_larger_for_a_while() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (8, 8))
    larger = KIDNEY_CODEC.resize_labels(labels, (32, 24))
    np.testing.assert_array_equal(larger, np.kron(labels, np.ones((4, 3))))
    np.testing.assert_array_equal(KIDNEY_CODEC.resize_labels(larger, (8, 8)), labels)


def test_a_pixel_takes_the_class_that_covers_most_of_it() -> None:
    shares = np.zeros((4, 1, 3))
    shares[:, 0, 0] = 0.3, 0.2, 0, 0  # half background
    shares[:, 0, 1] = 0.3, 0.5, 0.1, 0.1
    shares[:, 0, 2] = 0, 0.5, 0, 0  # a tie
    np.testing.assert_array_equal(KIDNEY_CODEC.decode(shares), [[0, 2, 0]])


def test_unknown_numbers_are_named() -> None:
    labels = np.array([[0, 7, 4, 200]])
    with pytest.raises(MaskError, match=r"unknown class numbers 7, 200; known are 0 \(background\) to 4: tubuli, "):
        KIDNEY_CODEC.encode(labels)
    with pytest.raises(MaskError, match="5, 6, 7, 8, 9 and 11 more"):
        KIDNEY_CODEC.paint(np.arange(21)[None])


def test_unknown_colours_are_named() -> None:
    picture = KIDNEY_CODEC.paint(np.array([[0, 1, 2]]))
    picture[0, 2] += 1
    with pytest.raises(MaskError, match=r"colours of no class: \(81, 201, 221\); save masks without loss"):
        KIDNEY_CODEC.read_colours(picture)


def test_where_masks_overlap_the_later_class_is_seen() -> None:
    masks = {"glomeruli": np.array([[True, True]]), "tubuli": np.array([[True, False]])}
    np.testing.assert_array_equal(KIDNEY_CODEC.join(masks), [[4, 4]])
    masks["tubules"] = masks.pop("tubuli")
    with pytest.raises(MaskError, match="unknown class 'tubules'; known are tubuli, veins"):
        KIDNEY_CODEC.join(masks)
    with pytest.raises(MaskError, match="2 masks of 2 sizes"):
        KIDNEY_CODEC.join({"tubuli": np.ones((2, 2), bool), "arteries": np.ones((2, 3), bool)})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 2)), "whole numbers, got float64"),
        (np.zeros((2, 2, 3), int), r"shape \(H, W\), got \(2, 2, 3\)"),
        (np.full((2, 2), -1), "from 0 up, got -1"),
    ],
)
def test_what_is_no_label_image_is_refused(labels, message) -> None:
    with pytest.raises(MaskError, match=message):
        KIDNEY_CODEC.encode(labels)


def test_wrong_channels_and_sizes_are_refused() -> None:
    with pytest.raises(MaskError, match=r"shape \(4, H, W\), got \(3, 2, 2\)"):
        KIDNEY_CODEC.decode(np.zeros((3, 2, 2)))
    with pytest.raises(MaskError, match="at least 1 px"):
        KIDNEY_CODEC.resize(np.zeros((4, 2, 2)), (0, 3))
    with pytest.raises(MaskError, match=r"\(H, W, 3\) of uint8"):
        KIDNEY_CODEC.read_colours(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "wanted 1 to 255 classes"),
        ((MaskClass("a", (1, 1, 1)), MaskClass("a", (2, 2, 2))), "same name: a, a"),
        ((MaskClass("a", (1, 1, 1)), MaskClass("b", (1, 1, 1))), "same colour"),
        ((MaskClass("a", (0, 0, 0)),), "black"),
        ((MaskClass("a", (0, 0, 256)),), "0 to 255, got"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(classes, message) -> None:
    with pytest.raises(MaskError, match=message):
        ClassSet(classes)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_channels_that_are_not_finite_are_refused(kind, value) -> None:
    channels = np.zeros((4, 3, 3), kind)
    channels[1, 2, 2] = kind(value)
    with pytest.raises(MaskError, match="wanted finite channels, got 1 of 36 values that are not"):
        KIDNEY_CODEC.decode(channels)
    with pytest.raises(MaskError, match="wanted finite channels"):
        KIDNEY_CODEC.resize(channels, (2, 2))
