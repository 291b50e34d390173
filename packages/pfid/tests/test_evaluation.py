from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pfid import (
    CallableExtractor,
    FeatureError,
    FrechetMetric,
    ImageError,
    KernelMetric,
    NeighbourMetric,
    TooFewError,
    array_images,
    evaluate,
    extract_features,
    feature_batches,
    fid,
    folder_images,
    frechet_distance,
    kid,
    prdc,
)
from pfid.features.extractors import resize_clean

MakeFolder = Callable[..., Path]
EXTRACTOR = CallableExtractor(
    lambda images: np.maximum(resize_clean(images, 37)[:, 2::9, 3::18].reshape(len(images), -1)[:, ::4] - 99, 0),
    "some pixels",
    6,
    "to 37 px",
)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    def make(name: str, seed: int, count: int = 20, size: int = 32) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        pixels = np.random.default_rng(seed).integers(seed, 256, (count, size, size, 3), dtype=np.uint8)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{number:03d}.png")
        return folder

    return make


def test_the_figure_does_not_depend_on_the_batch_and_tells_what_it_is_of(make_folder: MakeFolder) -> None:
    real, fake = make_folder("real", 0), make_folder("fake", 30, 15)
    figures = [fid(real=real, fake=fake, extractor=EXTRACTOR, batch_size=batch) for batch in (1, 7, 100)]
    for figure in figures:
        assert figure.value == pytest.approx(figures[0].value, rel=1e-6)
    assert (figure.n_real, figure.n_fake) == (20, 15)
    assert (figure.extractor, figure.resize, figure.note) == ("some pixels", "to 37 px", None)


def test_one_side_can_be_statistics_of_before(make_folder: MakeFolder, tmp_path: Path) -> None:
    real, fake = make_folder("real", 0), make_folder("fake", 30)
    features = extract_features(folder_images(real), EXTRACTOR).result()
    features.statistics().save(tmp_path / "real.npz")
    expected = fid(real=real, fake=fake, extractor=EXTRACTOR)
    for side in (tmp_path / "real.npz", str(tmp_path / "real.npz"), features, features.statistics()):
        figure = fid(real=side, fake=fake, extractor=EXTRACTOR)
        assert figure.value == pytest.approx(expected.value, rel=1e-6)
        assert figure.n_real == 20
    np.savez(tmp_path / "foreign.npz", mu=features.statistics().mean, sigma=features.statistics().covariance)
    foreign = fid(real=tmp_path / "foreign.npz", fake=fake, extractor=EXTRACTOR)
    assert foreign.value == pytest.approx(expected.value, rel=1e-6)
    assert (foreign.n_real, foreign.note) == (None, "real: statistics that do not name their extractor")
    np.savez(tmp_path / "larger.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with pytest.raises(FeatureError, match="the real side has 2,048 features"):
        fid(real=tmp_path / "larger.npz", fake=tmp_path / "larger.npz", extractor=EXTRACTOR)
    other = CallableExtractor(EXTRACTOR.function, "other", 6)
    with pytest.raises(FeatureError, match="the real side has features of 'some pixels', wanted 'other'"):
        fid(real=tmp_path / "real.npz", fake=fake, extractor=other)


def test_the_same_folder_on_both_sides_is_allowed_with_a_note(make_folder: MakeFolder) -> None:
    real = make_folder("real", 0)
    figure = fid(real=real, fake=str(real), extractor=EXTRACTOR)
    assert figure.value == pytest.approx(0, abs=1e-6)
    assert figure.note == "both sides are the same images"


def test_too_few_images_are_refused_with_the_number_needed(make_folder: MakeFolder) -> None:
    real, fake = make_folder("real", 0), make_folder("fake", 30, 6)
    with pytest.raises(FeatureError, match=r"6 fake images: .* of 6 features takes 7 or more"):
        fid(real=real, fake=fake, extractor=EXTRACTOR)
    assert fid(real=real, fake=fake, extractor=EXTRACTOR, allow_few=True).n_fake == 6


def test_unreadable_images_are_refused_or_noted(make_folder: MakeFolder) -> None:
    real, fake = make_folder("real", 0), make_folder("fake", 30)
    damaged = real / "007.png"
    damaged.write_bytes(damaged.read_bytes()[:-1500])
    with pytest.raises(ImageError, match=r"007\.png"):
        fid(real=real, fake=fake, extractor=EXTRACTOR)
    figure = fid(real=folder_images(real, skip_unreadable=True), fake=fake, extractor=EXTRACTOR)
    assert figure.n_real == 19
    assert "1 of 20 images left out" in str(figure)
    with pytest.raises(ImageError, match="no such folder"):
        fid(real=real.parent / "missing", fake=fake, extractor=EXTRACTOR)


def test_images_of_many_sizes_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    images = array_images([rng.integers(0, 256, (side, 20, 3), dtype=np.uint8) for side in (20, 20, 30, 20, 30, 30)])
    batches = list(feature_batches(images, EXTRACTOR, batch_size=2))
    assert [part.numbers for part in batches] == [(0, 1), (2,), (3,), (4, 5)]
    features = extract_features(images, EXTRACTOR, batch_size=2).result()
    alone = [EXTRACTOR(image[None])[0] for _, image in images.whole()]
    np.testing.assert_allclose(features.values, alone, rtol=1e-6)
    assert features.names == images.names


class MeanDistance:
    """A metric of a user's own."""

    title = "distance of means"
    least_images = 1

    def measure(self, *, real: NDArray[Any], fake: NDArray[Any], rng: np.random.Generator, device: Any) -> Any:
        return {"distance of means": float(np.linalg.norm(real.mean(0) - fake.mean(0)))}


def test_one_pass_over_the_images_gives_all_metrics() -> None:
    rng = np.random.default_rng(0)
    sides = [array_images(rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)) for n in (12, 9)]
    seen: list[int] = []
    counting = replace(EXTRACTOR, function=lambda images: (seen.append(len(images)), EXTRACTOR(images))[1])
    metrics = (FrechetMetric(), KernelMetric(subsets=3), NeighbourMetric(k=4), MeanDistance())
    values = evaluate(real=sides[0], fake=sides[1], extractor=counting, metrics=metrics)
    assert [value.name for value in values] == [
        "FID",
        "KID (3 subsets of 9)",
        "precision (k = 4)",
        "recall (k = 4)",
        "density (k = 4)",
        "coverage (k = 4)",
        "distance of means",
    ]
    assert all((value.n_real, value.n_fake) == (12, 9) for value in values)
    assert sum(seen) == 21
    left, right = (extract_features(side, EXTRACTOR).result().values for side in sides)
    distance = kid(real=left, fake=right, generator=np.random.default_rng(0), subsets=3, subset_size=9)
    assert values[0].value == pytest.approx(frechet_distance(real=left, fake=right))
    assert values[1].value == pytest.approx(distance.value)
    assert values[5].value == prdc(real=left, fake=right, k=4).coverage


def test_metrics_that_take_more_images_are_left_out_with_a_note() -> None:
    rng = np.random.default_rng(0)
    sides = [array_images(rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)) for n in (12, 5)]
    metrics = (FrechetMetric(allow_few=True), NeighbourMetric())
    [value] = evaluate(real=sides[0], fake=sides[1], extractor=EXTRACTOR, metrics=metrics)
    assert value.name == "FID"
    assert "coverage (k = 5) left out: they take 6 images a side, the smaller has 5" in str(value)
    with pytest.raises(TooFewError, match=r"5 fake images: .* takes 7 or more"):
        evaluate(real=sides[0], fake=sides[1], extractor=EXTRACTOR)


def test_features_of_another_extractor_are_refused() -> None:
    images = array_images(np.zeros((9, 16, 16, 3), np.uint8))
    features = extract_features(images, replace(EXTRACTOR, name="another")).result()
    with pytest.raises(FeatureError, match="the real side has features of 'another', wanted 'some pixels'"):
        evaluate(real=features, fake=images, extractor=EXTRACTOR)
