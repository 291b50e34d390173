from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pfid import FeatureError, FeatureStatistics, frechet_distance

SEEDS = st.integers(0, 10_000)


def features_of(seed: int, count: int, dimensions: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    spread, mean = rng.normal(size=(dimensions, dimensions)), rng.normal(size=dimensions)
    return rng.normal(size=(count, dimensions)) @ spread + mean


def distance(real: Any, fake: Any) -> float:
    return frechet_distance(real=real, fake=fake, allow_few=True)


@pytest.mark.parametrize("dimensions", [2, 64, 768])
def test_the_closed_form_of_gaussians_with_the_same_axes(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2, dimensions))
    variances = rng.exponential(size=(2, dimensions)) * 10.0 ** rng.uniform(-3, 1, dimensions)
    axis = rng.normal(size=dimensions)
    axis /= np.linalg.norm(axis)

    def mirrored(variance: NDArray[np.float64]) -> NDArray[np.float64]:
        half = np.diag(variance) - 2 * np.outer(axis, axis * variance)
        return half - 2 * np.outer(half @ axis, axis)

    real, fake = (FeatureStatistics(mean, mirrored(variance)) for mean, variance in zip(means, variances, strict=True))
    spread = np.sqrt(variances)
    expected = ((means[0] - means[1]) ** 2).sum() + ((spread[0] - spread[1]) ** 2).sum()
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-9)


@given(SEEDS)
def test_the_closed_form_of_any_two_gaussians_in_a_plane(seed: int) -> None:
    real, fake = (FeatureStatistics.of(features_of(seed + i, 10, 2)) for i in range(2))
    product = real.covariance @ fake.covariance
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = ((real.mean - fake.mean) ** 2).sum() + np.trace(real.covariance + fake.covariance) - 2 * root
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-8)


@given(SEEDS, st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=30)
def test_features_and_statistics_agree_also_without_full_rank(seed: int, n_real: int, n_fake: int) -> None:
    real, fake = features_of(seed, n_real, 20), features_of(seed + 1, n_fake, 20)
    both = [(side, FeatureStatistics.of(side)) for side in (real, fake)]
    values = [distance(left, right) for left in both[0] for right in both[1]]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


@given(SEEDS, st.sampled_from([8, 50]))
@settings(max_examples=30)
def test_it_is_symmetric_zero_on_the_same_and_blind_to_rigid_motion(seed: int, count: int) -> None:
    real, fake = features_of(seed, count, 12), features_of(seed + 1, count + 3, 12)
    rng = np.random.default_rng(seed)
    value = distance(real, fake)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    shift, order = rng.normal(size=12), rng.permutation(12)
    assert distance(fake, real) == pytest.approx(value, rel=1e-7)
    assert distance(rng.permutation(real), rng.permutation(fake)) == pytest.approx(value, rel=1e-7)
    assert distance(real[:, order], fake[:, order]) == pytest.approx(value, rel=1e-7)
    assert distance(real @ rotation + shift, fake @ rotation + shift) == pytest.approx(value, rel=1e-7)
    assert 0 <= distance(real, real) <= 1e-7 * np.trace(np.cov(real, rowvar=False))
    assert distance(real, real + shift) == pytest.approx(shift @ shift, rel=1e-6)


def test_a_set_without_any_spread_has_a_distance() -> None:
    point, cloud = np.zeros((30, 4)), features_of(0, 30, 4)
    expected = (cloud.mean(0) ** 2).sum() + np.trace(np.cov(cloud, rowvar=False))
    for one, other in ((point, cloud), (cloud, point)):
        assert frechet_distance(real=one, fake=other) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(real=point, fake=point + 2) == 16


def test_too_few_images_are_refused_with_the_number_needed() -> None:
    real, fake = features_of(0, 21, 20), features_of(1, 20, 20)
    for side in (fake, FeatureStatistics.of(fake)):
        with pytest.raises(FeatureError, match=r"20 fake images: .* of 20 features takes 21 or more"):
            frechet_distance(real=real, fake=side)
    assert distance(real, fake) > 0
    with pytest.raises(FeatureError, match="1 images, wanted 2 or more"):
        distance(real, fake[:1])


def test_damaged_sides_are_refused() -> None:
    real, fake = features_of(0, 30, 4), features_of(1, 30, 4)
    fake[[3, 5], 2] = np.nan
    with pytest.raises(FeatureError, match="fake features: 2 values that are not finite, in 2 of 30 images"):
        distance(real, fake)
    for large in (1e39, -1e200, np.inf):
        with pytest.raises(FeatureError, match="not finite"):
            distance(real, np.full((30, 4), large))
    assert np.isfinite(distance(real * 1e37, real * -1e37))
    assert np.isfinite(distance(real[:3] * 1e37, real[:3] * -1e37))
    with pytest.raises(FeatureError, match="4 dimensions, fake ones 3"):
        distance(real, real[:, :3])
    with pytest.raises(FeatureError, match="wanted numbers"):
        distance(real, real[0])
    no_covariance = FeatureStatistics(np.zeros(4), np.diag([1.0, 1, 1, -1]))
    with pytest.raises(FeatureError, match="eigenvalue -1"):
        distance(no_covariance, FeatureStatistics.of(real))
    left, right = (FeatureStatistics.of(real, extractor=name) for name in ("one", "other"))
    with pytest.raises(FeatureError, match="different extractor: one and other"):
        distance(left, right)
