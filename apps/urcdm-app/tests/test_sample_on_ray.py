"""Slides drawn by the workers of a real Ray cluster on this machine."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from urcdm import ModelSource, Urcdm, WorkerError

RunApp = Callable[..., Any]

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # as the command line does, before Ray is imported
ray = pytest.importorskip("ray", reason="the extra urcdm-app[ray] is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def sample(run_app: RunApp, model: Path, tmp_path: Path) -> RunApp:
    def draw(name: str, *more: str | Path) -> Any:
        arguments = ("sample", "--model", model, "--out", tmp_path / name, "--size", "48x32", "--device", "cpu")
        return run_app(*arguments, *more)

    return draw


def pixels(path: Path) -> NDArray[np.int_]:
    slide = openslide.OpenSlide(path)
    return np.asarray(slide.read_region((0, 0), 0, slide.dimensions), int)[..., :3]


@pytest.mark.thorough  # the package has a test of the same pixels
def test_two_workers_draw_the_slide_that_one_process_draws(cluster: None, sample: RunApp, tmp_path: Path) -> None:
    for name, workers in (("one.tiff", "1"), ("two.tiff", "2")):
        drawn = sample(name, "--workers", workers)
        assert drawn.code == 0, drawn.err
    assert np.abs(pixels(tmp_path / "one.tiff") - pixels(tmp_path / "two.tiff")).max() <= 1
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert (one["workers"], two["workers"], two["lost_workers"]) == (1, 2, 0)
    assert two["device"].startswith("cpu")
    assert "2 workers, each on cpu" in (tmp_path / "two.html").read_text(encoding="utf-8")
    assert sorted(path.suffix for path in tmp_path.glob("two*")) == [".html", ".json", ".png", ".tiff"]


def test_workers_that_find_another_model_are_refused(model: Path) -> None:
    # as a worker does it; that its errors come as they are is tested with the package
    with pytest.raises(WorkerError, match="differs from the model on this machine"):
        ModelSource.of(str(model), Urcdm.load, "0123456789abcdef").get()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", "3"), "wanted 1 to 2 workers"),
        (("--workers", "2", "--device", "cuda:1"), "--device cuda:1: each worker has a GPU to itself"),
    ],
)
def test_workers_that_cannot_be_had_are_told(
    cluster: None, sample: RunApp, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    refused = sample("slide.tiff", *options)
    assert refused.code == 1
    assert len(refused.err.strip().splitlines()) == 1
    assert words in refused.err
    assert not list(tmp_path.iterdir())


def test_without_ray_the_extra_is_named(sample: RunApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    refused = sample("slide.tiff", "--workers", "2")
    assert (refused.code, "pip install 'urcdm-app[ray]'" in refused.err) == (1, True)


def test_a_model_that_is_missing_on_a_machine_is_told_with_the_machine(model: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(WorkerError, match=rf"on .+: {gone}: no such folder or file"):
        ModelSource.of(str(gone), Urcdm.load, "").get()


def test_a_zip_is_unpacked_for_as_long_as_it_is_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, unpacked = Urcdm.load(model), tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    zipped = shutil.make_archive(str(tmp_path / "model"), "zip", model)
    found = ModelSource.of(zipped, Urcdm.load, loaded.fingerprint()).get()
    assert found.fingerprint() == loaded.fingerprint()
    assert not list(unpacked.iterdir())
