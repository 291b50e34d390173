"""Features and metrics on a pretended GPU: what is calculated there is read back once."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pfid
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda
from pfid.features.inception import INCEPTION_FILE
from pfid.metrics.neighbours import nearest
from pfid.two_sample.classifier import Classifier, ClassifierConfig

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(24, 4)), RNG.normal(size=(20, 4))
IMAGES = RNG.integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)


@pytest.fixture
def gpu() -> Iterator[GpuRecord]:
    with pretended_cuda() as record:
        yield record


class PooledLayers(nn.Module):
    """The form of clean-fid's network, whose file a pretended GPU cannot read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2048, 23, stride=23), nn.AdaptiveAvgPool2d(1))


def inception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> pfid.Extractor:
    path = folder / INCEPTION_FILE
    path.write_bytes(b"stands for the network")
    monkeypatch.setattr(torch.jit, "load", lambda path, map_location: PooledLayers().to(map_location))
    return pfid.Inception(path, device="cuda", sha256=None)


def light() -> pfid.Extractor:
    pytest.importorskip("efficientnet_lite_pytorch")
    return pfid.Light(device="cuda")


@pytest.mark.parametrize("name", ["light", "inception"])
def test_an_extractor_waits_for_its_features_alone(
    gpu: GpuRecord, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = light() if name == "light" else inception(tmp_path, monkeypatch)
    gpu.clear()
    assert extractor(IMAGES).shape == (2, extractor.dimensions)
    assert gpu.waits.total() == len(gpu.blocking("cpu")) == 1


def kid_of(subsets: int) -> Any:
    return pfid.kid(
        real=REAL, fake=FAKE, generator=np.random.default_rng(0), subsets=subsets, subset_size=8, device="cuda"
    )


def prdc_of(chunk: int) -> Any:
    return pfid.prdc(real=REAL, fake=FAKE, chunk=chunk, device="cuda")


@pytest.mark.parametrize(
    ("few", "many"),
    [
        (lambda: kid_of(2), lambda: kid_of(5)),
        (
            lambda: pfid.prdc(real=REAL, fake=FAKE, device="cuda"),
            lambda: pfid.prdc(real=REAL, fake=FAKE, chunk=5, device="cuda"),
        ),
        (lambda: nearest(REAL, FAKE, device="cuda"), lambda: nearest(REAL, FAKE, chunk=5, device="cuda")),
    ],
    ids=["kid", "prdc", "nearest"],
)
def test_a_metric_waits_as_often_whatever_its_parts(
    gpu: GpuRecord, few: Callable[[], object], many: Callable[[], object]
) -> None:
    few()
    waits = gpu.waits.total()
    gpu.clear()
    many()
    assert gpu.waits.total() == waits
    assert len(gpu.blocking("cuda")) <= 2  # each side once
    assert gpu.waits.total() - len(gpu.blocking("cuda")) == 1


@pytest.mark.parametrize("count", [3, 20])
def test_a_frechet_distance_is_calculated_on_the_device(gpu: GpuRecord, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distance = pfid.frechet_distance(real=REAL[:count], fake=FAKE[:count], device="cuda", allow_few=True)
    assert np.isfinite(distance)
    assert gpu.launches["mm"]


def test_a_step_of_the_classifier_waits_for_nothing(gpu: GpuRecord) -> None:
    classifier = Classifier(16, ClassifierConfig(steps=3, batch_size=4), np.random.default_rng(0), "cuda")
    steps = classifier.train(list(IMAGES), list(IMAGES))
    next(steps)
    gpu.clear()
    assert list(steps) == [2, 3]
    assert not gpu.waits
    assert not gpu.seedings
