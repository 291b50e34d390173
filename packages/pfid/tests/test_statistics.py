from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pfid import FeatureError, FeatureStatistics, StatisticsAccumulator


def features_of(seed: int, count: int, dimensions: int = 5) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    spread, mean = rng.normal(size=(dimensions, dimensions)), rng.normal(size=dimensions)
    return rng.normal(size=(count, dimensions)) @ spread + mean


def assert_statistics_of(found: FeatureStatistics, features: NDArray[np.float64]) -> None:
    assert found.count == len(features)
    np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-10, atol=1e-12)


@given(st.integers(0, 1000), st.lists(st.integers(0, 9), min_size=1, max_size=8), st.randoms())
def test_batches_and_parts_in_any_order_give_the_same_statistics(seed: int, sizes: list[int], order) -> None:
    features = features_of(seed, sum(sizes) + 2)
    batches = np.split(features, np.cumsum(sizes))
    order.shuffle(batches)
    in_one, *others = (StatisticsAccumulator(5) for _ in range(3))
    for number, batch in enumerate(batches):
        in_one.add(batch)
        others[number % 2].add(batch)
    others[0].merge(others[1])
    assert_statistics_of(in_one.statistics(), features)
    assert_statistics_of(others[0].statistics(), features)


def test_known_statistics_merge_as_their_images_would() -> None:
    features = features_of(0, 30)
    total = StatisticsAccumulator(5)
    for part in (features[:7], features[7:]):
        total.merge(FeatureStatistics.of(part))
    assert_statistics_of(total.statistics(), features)
    with pytest.raises(FeatureError, match="how many images"):
        total.merge(FeatureStatistics(np.zeros(5), np.eye(5)))


def test_a_mean_far_from_zero_costs_no_precision() -> None:
    features = np.random.default_rng(0).normal(size=(1000, 3))
    total = StatisticsAccumulator(3)
    for batch in np.split(features + 1e8, 10):
        total.add(batch)
    np.testing.assert_allclose(total.statistics().covariance, np.cov(features, rowvar=False), rtol=1e-6, atol=1e-7)


def test_what_is_not_finite_is_counted_and_not_added() -> None:
    total = StatisticsAccumulator(5)
    damaged = features_of(0, 4).astype(np.float32)
    damaged[1, :2] = np.nan, np.inf
    with pytest.raises(FeatureError, match="2 values that are not finite, in 1 of 4 images"):
        total.add(damaged)
    assert total.count == 0
    with pytest.raises(FeatureError, match="4 dimensions, where 5"):
        total.add(np.zeros((2, 4)))
    with pytest.raises(FeatureError, match="0 images"):
        total.statistics()


def test_statistics_survive_saving(tmp_path: Path) -> None:
    statistics = FeatureStatistics.of(features_of(0, 9), extractor="a network", resize="to 5 px")
    for _ in range(2):  # an older file is replaced
        statistics.save(tmp_path / "saved.npz")
    loaded = FeatureStatistics.load(tmp_path / "saved.npz")
    assert (loaded.count, loaded.extractor, loaded.resize) == (9, "a network", "to 5 px")
    assert (loaded.mean == statistics.mean).all()
    assert (loaded.covariance == statistics.covariance).all()
    assert [path.name for path in tmp_path.iterdir()] == ["saved.npz"]


def test_other_programs_files_load_and_ours_have_their_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "foreign.npz", mu=np.zeros(3, np.float32), sigma=np.eye(3, dtype=np.float32))
    loaded = FeatureStatistics.load(tmp_path / "foreign.npz")
    assert (loaded.count, loaded.extractor, loaded.dimensions) == (None, None, 3)
    assert loaded.covariance.dtype == np.float64
    loaded.save(tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz") as ours:
        assert set(ours.files) == {"mu", "sigma"}


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    FeatureStatistics.of(features_of(0, 9)).save(tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    (tmp_path / "text.npz").write_text("mu sigma")
    np.savez(tmp_path / "keys.npz", mu=np.zeros(3))
    np.savez(tmp_path / "shapes.npz", mu=np.zeros(3), sigma=np.eye(4))
    np.savez(tmp_path / "nan.npz", mu=np.array([0, np.nan]), sigma=np.eye(2))
    np.savez(tmp_path / "objects.npz", mu=np.array([None]), sigma=np.eye(1), allow_pickle=True)
    np.savez(tmp_path / "skew.npz", mu=np.zeros(2), sigma=np.array([[1, 0.5], [0, 1]]))
    np.savez(tmp_path / "count.npz", mu=np.zeros(2), sigma=np.eye(2), count="many")
    np.savez(tmp_path / "half.npz", mu=np.zeros(2), sigma=np.eye(2), count=2.5)
    np.savez(tmp_path / "complex.npz", mu=np.zeros(2), sigma=np.eye(2) + 1j)
    np.savez_compressed(tmp_path / "bits.npz", mu=np.zeros(2), sigma=np.random.default_rng(0).random((20, 20)))
    bits = bytearray((tmp_path / "bits.npz").read_bytes())
    bits[len(bits) // 2 : len(bits) // 2 + 20] = b"\xff" * 20
    (tmp_path / "bits.npz").write_bytes(bits)
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    damaged = ("cut", "text", "keys", "shapes", "nan", "objects", "array", "missing", "skew", "count", "half")
    for name in (*damaged, "complex", "bits"):
        with pytest.raises(FeatureError) as error:
            FeatureStatistics.load(tmp_path / f"{name}.npz")
        assert str(error.value).count(f"{name}.npz") == 1
        assert "\n" not in str(error.value)
