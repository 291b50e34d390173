import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfid import FeatureError, kid


@given(st.integers(0, 1000), st.integers(2, 12))
def test_of_whole_sets_it_is_the_definition(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(2, count, 3))

    def kernel(x, y) -> float:
        return (x @ y / 3 + 1) ** 3

    within = [kernel(side[i], side[j]) for side in (real, fake) for i in range(count) for j in range(count) if i != j]
    across = [kernel(x, y) for x in real for y in fake]
    expected = sum(within) / (count * (count - 1)) - 2 * np.mean(across)
    found = kid(real=real, fake=fake, generator=rng, subsets=2, subset_size=count)
    assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(0, abs=1e-9)


def test_it_does_not_depend_on_how_many_images_there_are() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 4000, 8))
    few, many = (kid(real=real, fake=fake, generator=rng, subsets=300, subset_size=size) for size in (10, 200))
    assert abs(few.value) < 4 * few.deviation / 300**0.5
    assert abs(many.value) < 4 * many.deviation / 300**0.5
    apart = kid(real=real, fake=fake + 0.5, generator=rng, subsets=20, subset_size=200)
    assert apart.value > 5 * apart.deviation


def test_subsets_larger_than_a_side_are_refused() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(9, 3)), rng.normal(size=(5, 3))
    with pytest.raises(FeatureError, match=r"subsets of 1,000 .* 9 real and 5 fake"):
        kid(real=real, fake=fake, generator=rng)
    with pytest.raises(FeatureError, match="subset_size is 1, wanted a whole number of 2 or more"):
        kid(real=real, fake=fake, generator=rng, subset_size=1)
