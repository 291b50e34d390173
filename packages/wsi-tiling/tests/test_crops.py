import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import (
    STUDY,
    ArraySlide,
    SlideError,
    dihedral,
    dihedral_inverse,
    random_crops,
)

GLASS, PURPLE = (242, 243, 242), (110, 60, 150)


def half_tissue() -> ArraySlide:
    image = np.full((300, 400, 3), GLASS, np.uint8)
    image[:, :200] = PURPLE
    return ArraySlide(image, path="half.png")


@given(
    size=st.tuples(st.integers(20, 90), st.integers(20, 90)), side=st.integers(1, 20), seed=st.integers(0, 2**32 - 1)
)
def test_crops_lie_inside_the_picture(size: tuple[int, int], side: int, seed: int) -> None:
    slide = ArraySlide(np.zeros((size[1], size[0], 3), np.uint8), path="any.png")
    frame = random_crops(slide, side, 30, np.random.default_rng(seed)).frame
    assert len(frame) == 30
    for name, length in (("x_l0", size[0]), ("y_l0", size[1])):
        assert frame[name].between(0, length - side).all()


def test_every_place_can_be_drawn() -> None:
    slide = ArraySlide(np.zeros((12, 11, 3), np.uint8), path="any.png")
    frame = random_crops(slide, 10, 200, np.random.default_rng(0)).frame
    assert set(zip(frame["x_l0"], frame["y_l0"], strict=True)) == {(x, y) for x in range(2) for y in range(3)}


def test_the_same_seed_draws_the_same_crops() -> None:
    one, again, other = (random_crops(half_tissue(), 64, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one.frame, again.frame)
    assert not one.frame.equals(other.frame)


def test_crops_hold_the_tissue_asked_for() -> None:
    frame = random_crops(half_tissue(), 64, 50, np.random.default_rng(0), rule=STUDY, min_tissue=0.5).frame
    true = np.clip((200 - frame["x_l0"]) / 64, 0, 1)
    np.testing.assert_allclose(frame["tissue"], true, atol=0.04)
    assert frame["tissue"].min() >= 0.5


def test_what_cannot_be_had_is_refused_with_numbers() -> None:
    glass = ArraySlide(np.full((99, 80, 3), GLASS, np.uint8), path="glass.png")
    rng = np.random.default_rng(0)
    with pytest.raises(SlideError, match=r"only 0 of 2 crops .* in 2000 tries"):
        random_crops(glass, 50, 2, rng, rule=STUDY, min_tissue=0.5)
    with pytest.raises(SlideError, match="80 x 99 px, got 1 of 81 px"):
        random_crops(glass, 81, 1, rng)
    with pytest.raises(SlideError, match="share of tissue"):
        random_crops(glass, 50, 2, rng, min_tissue=-1)
    assert len(random_crops(glass, 50, 0, rng)) == 0


@pytest.mark.parametrize("k", range(8))
def test_every_way_to_turn_is_undone_by_its_inverse(k: int, picture: np.ndarray) -> None:
    for image in (picture, picture[..., 0] > 100):
        turned = dihedral(image, k)
        assert turned.flags.c_contiguous
        assert not np.shares_memory(turned, image)
        np.testing.assert_array_equal(dihedral(turned, dihedral_inverse(k)), image)


def test_the_eight_ways_differ_and_are_closed() -> None:
    image = np.arange(9).reshape(3, 3)
    ways = {dihedral(image, k).tobytes() for k in range(8)}
    assert len(ways) == 8
    assert {dihedral(dihedral(image, k), m).tobytes() for k in range(8) for m in range(8)} == ways


def test_a_mask_turns_with_its_picture(picture: np.ndarray) -> None:
    for k in range(8):
        np.testing.assert_array_equal(dihedral(picture, k)[..., 0] > 90, dihedral(picture[..., 0] > 90, k))


def test_there_is_no_ninth_way() -> None:
    for wrong in (8, -1):
        with pytest.raises(ValueError, match="0 to 7"):
            dihedral(np.zeros((2, 2)), wrong)
        with pytest.raises(ValueError, match="0 to 7"):
            dihedral_inverse(wrong)
