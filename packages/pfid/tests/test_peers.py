"""Agreement with torch-fidelity and clean-fid, which are in one file since their import takes seconds."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pfid import (
    CallableExtractor,
    FeatureStatistics,
    FrechetMetric,
    KernelMetric,
    NeighbourMetric,
    evaluate,
    extract_features,
    fid,
    folder_images,
    frechet_distance,
    kid,
    prdc,
)
from pfid.features.extractors import resize_clean

PROJECTION = np.random.default_rng(9).normal(size=(8 * 8 * 3, 6))


def projected(resized: NDArray[np.float32]) -> NDArray[np.float32]:
    """Six features of images of 299 px, in place of a network's."""
    coarse = resized[:, 5::37, 5::37].reshape(len(resized), -1)
    return np.asarray(np.maximum(coarse @ PROJECTION / 300, 0), np.float32)


EXTRACTOR = CallableExtractor(lambda images: projected(resize_clean(images, 299)), "projection", 6, "to 299 px")


def features_of(seed: int, count: int, dimensions: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    spread, mean = rng.normal(size=(dimensions, dimensions)), rng.normal(size=dimensions)
    return rng.normal(size=(count, dimensions)) @ spread + mean


def fill(folder: Path, seed: int, count: int) -> Path:
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(seed, 256, (count, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return folder


@pytest.mark.parametrize("counts", [(300, 200), (300, 30), (40, 30)])
def test_frechet_distance_is_torch_fidelitys(counts: tuple[int, int]) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_fid")
    real, fake = (features_of(seed, count, 64) for seed, count in enumerate(counts))
    left, right = (peer.fid_features_to_statistics(torch.from_numpy(side)) for side in (real, fake))
    expected = peer.fid_statistics_to_metric(left, right, False)["frechet_inception_distance"]
    assert frechet_distance(real=real, fake=fake, allow_few=True) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_is_clean_fids_where_that_still_runs() -> None:
    peer = pytest.importorskip("cleanfid.fid")
    real, fake = (FeatureStatistics.of(features_of(seed, 300, 64)) for seed in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = peer.frechet_distance(real.mean, real.covariance, fake.mean, fake.covariance)
        except TypeError:
            pytest.skip("it calls scipy's sqrtm in a way that is no more")
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-8)


def test_kid_is_torch_fidelitys_on_the_same_subsets() -> None:
    peer = pytest.importorskip("torch_fidelity.metric_kid")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 16)), rng.normal(size=(50, 16)) + 0.3
    settings = {"kid_subsets": 7, "kid_subset_size": 20, "rng_seed": 3, "verbose": False}
    expected = peer.kid_features_to_metric(torch.from_numpy(real), torch.from_numpy(fake), **settings)
    found = kid(real=real, fake=fake, generator=np.random.RandomState(3), subsets=7, subset_size=20)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-10)
    assert found.deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-10)


def test_kid_of_whole_sets_is_clean_fids() -> None:
    peer = pytest.importorskip("cleanfid.fid")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 16)), rng.normal(size=(50, 16)) + 0.3
    expected = peer.kernel_distance(real, fake, num_subsets=1, max_subset_size=50)
    assert kid(real=real, fake=fake, generator=rng, subsets=1, subset_size=50).value == pytest.approx(expected)


def test_precision_and_recall_are_torch_fidelitys() -> None:
    peer = pytest.importorskip("torch_fidelity.metric_prc")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(200, 6)), rng.normal(size=(150, 6)) * 0.8 + 0.2
    expected = peer.prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=3, verbose=False
    )
    found = prdc(real=real, fake=fake, k=3)
    assert found.precision == pytest.approx(expected["precision"], abs=1e-6)
    assert found.recall == pytest.approx(expected["recall"], abs=1e-6)


def test_the_figures_of_folders_agree_with_torch_fidelity_on_the_same_images(tmp_path: Path) -> None:
    peer = pytest.importorskip("torch_fidelity")
    base = pytest.importorskip("torch_fidelity.feature_extractor_base")

    class Projection(base.FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("6",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "6"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.from_numpy(EXTRACTOR(x.permute(0, 2, 3, 1).numpy())),)

    peer.register_feature_extractor("projection", Projection)
    real, fake = fill(tmp_path / "real", 0, 30), fill(tmp_path / "fake", 30, 30)
    expected = peer.calculate_metrics(
        input1=str(fake),
        input2=str(real),
        feature_extractor="projection",
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=30,
        kid_subsets=1,
        prc_neighborhood=3,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    assert fid(real=real, fake=fake, extractor=EXTRACTOR).value == pytest.approx(
        expected["frechet_inception_distance"], rel=1e-4
    )
    metrics = (FrechetMetric(), KernelMetric(subset_size=30), NeighbourMetric(k=3))
    values = evaluate(real=real, fake=fake, extractor=EXTRACTOR, metrics=metrics)
    found = {value.name.split()[0]: value.value for value in values}
    assert found["FID"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert found["KID"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4)
    assert found["precision"] == pytest.approx(expected["precision"], rel=1e-4)
    assert found["recall"] == pytest.approx(expected["recall"], rel=1e-4)


def test_the_features_of_a_folder_agree_with_clean_fid(tmp_path: Path) -> None:
    peer = pytest.importorskip("cleanfid.fid")
    folder = fill(tmp_path / "real", 0, 7)

    def model(batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(projected(batch.permute(0, 2, 3, 1).numpy()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells Pillow a mode
        expected = peer.get_folder_features(
            str(folder), model, num_workers=0, batch_size=3, device=torch.device("cpu"), mode="clean", verbose=False
        )
    features = extract_features(folder_images(folder), EXTRACTOR).result()
    np.testing.assert_allclose(features.values, expected, rtol=1e-6)
