import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pfid import FeatureError, nearest, prdc


@given(st.integers(0, 1000), st.integers(7, 25), st.integers(7, 25), st.integers(1, 6), st.integers(1, 30))
@settings(max_examples=40)
def test_the_figures_are_their_definitions_in_chunks_of_any_size(
    seed: int, n_real: int, n_fake: int, k: int, chunk: int
) -> None:
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n_real, 3)), rng.normal(size=(n_fake, 3)) * 1.3
    across = cdist(real, fake)
    real_radii, fake_radii = (np.sort(cdist(side, side), axis=1)[:, k] for side in (real, fake))
    inside = across <= real_radii[:, None]
    found = prdc(real=real, fake=fake, k=k, chunk=chunk)
    assert found.precision == pytest.approx(inside.any(0).mean())
    assert found.recall == pytest.approx((across <= fake_radii).any(1).mean())
    assert found.density == pytest.approx(inside.sum() / (k * n_fake))
    assert found.coverage == pytest.approx((across.min(1) <= real_radii).mean())


def test_a_collapsed_set_is_precise_and_covers_little() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 4))
    collapsed = real[:1] + 1e-3 * rng.normal(size=(300, 4))
    found = prdc(real=real, fake=collapsed)
    assert found.precision == 1
    assert found.recall < 0.02
    assert found.coverage < 0.05


def test_a_scattered_set_is_diverse_and_not_precise() -> None:
    rng = np.random.default_rng(0)
    real, scattered = rng.normal(size=(300, 4)), 6 * rng.normal(size=(300, 4))
    found = prdc(real=real, fake=scattered)
    assert found.recall > 0.95
    assert found.precision < 0.2


def test_a_set_covers_itself_however_far_from_zero_it_lies() -> None:
    real = np.random.default_rng(0).normal(size=(90, 8)) + 1e4
    found = prdc(real=real, fake=real, k=4, chunk=7)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(5 / 4)  # each ball holds its four neighbours and its own image


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=30)
def test_nearest_neighbours_are_the_nearest(seed: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    points, among = rng.normal(size=(15, 3)), rng.normal(size=(12, 3))
    distances = cdist(points, among)
    index, found = nearest(points, among, chunk=chunk)
    assert (index == distances.argmin(1)).all()
    np.testing.assert_allclose(found, distances.min(1), rtol=1e-12)
    own = cdist(points, points) + np.diag(np.full(15, np.inf))
    index, found = nearest(points, points, leave_self_out=True, chunk=chunk)
    assert (index == own.argmin(1)).all()
    np.testing.assert_allclose(found, own.min(1), rtol=1e-12)


def test_a_copy_is_at_a_distance_of_exactly_zero() -> None:
    among = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32) + 100
    index, distances = nearest(among[[7, 30]], among)
    assert index.tolist() == [7, 30]
    assert distances.tolist() == [0, 0]


def test_fewer_images_than_neighbours_are_refused() -> None:
    points = np.zeros((5, 2))
    with pytest.raises(FeatureError, match="real features: 5 images, wanted 6 or more"):
        prdc(real=points, fake=points, k=5)
    with pytest.raises(FeatureError, match="k is 0"):
        prdc(real=points, fake=points, k=0)
    with pytest.raises(FeatureError, match="1 images, wanted 2 or more"):
        nearest(points[:1], points[:1], leave_self_out=True)
