import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from urcdm.sampling.place_noise import noise_key, place_noise


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 1, 2, 3), (2**40, 7)])
def test_it_is_standard_normal(numbers: tuple[int, ...]) -> None:
    values = place_noise(noise_key(*numbers), (5, 1000, 256, 256)).ravel()
    # the bounds are four standard errors
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - moment) < 4 * np.sqrt(spread / values.size)


def test_neighbours_blocks_channels_and_keys_are_independent() -> None:
    values, other = (place_noise(noise_key(number), (0, 0, 256, 256)) for number in (3, 4))
    pairs = [
        (values[1:], values[:-1]),
        (values[:, 1:], values[:, :-1]),
        (values[64:], values[:-64]),
        (values[:, 64:], values[:, :-64]),
        (values[..., 0], values[..., 1]),
        (values, other),
    ]
    for one, two in pairs:  # 49,000 pairs and more, so 0.018 is four standard errors
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.018


@given(st.integers(0, 200), st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 90))
def test_a_window_is_the_same_wherever_it_is_cut(x: int, y: int, width: int, height: int) -> None:
    key = noise_key(9)
    whole = place_noise(key, (x, y, 130, 130))
    np.testing.assert_array_equal(place_noise(key, (x, y, width, height)), whole[:height, :width])
    moved = place_noise(key, (x + 130 - width, y + 130 - height, width, height))
    np.testing.assert_array_equal(moved, whole[130 - height :, 130 - width :])
