"""The scripts of docs/examples and the code in CONTRIBUTING.md do what the pages say, on tiny models."""

import importlib
import math
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import torch
from torch import Tensor

import cdm_core.training.monitor
import maskcond.segmentation
import pfid.metrics
import wsi_tiling.reading.formats
from cdm_core import Cascade, CascadeConfig, SamplingConfig, Schedule, draw_noise, sample, sampling_times
from cdm_core.diffusion import solver
from cdm_core.testing.tiny import random_unet, tiny_stage
from image_files import read_rgb
from maskcond import KUMAR, dice, widen_for_masks
from maskcond.annotations.labelled_images import LabelledImage
from urcdm import Level, Urcdm, UrcdmConfig
from urcdm.training.plan_file import read_plan
from wsi_tiling import SlideError, TissueRule, open_slide
from wsi_tiling.reading import openers

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
MODULES = {
    match[1]: code
    for kind, code in BLOCKS
    if kind == "python" and (match := re.match(r"# packages/.+?/src/(.+)\n", code))
}
RunExample = Callable[..., str]
ImportBlock = Callable[[str], ModuleType]


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunExample:
    """Runs a script of docs/examples in this process, and returns what it prints."""

    def run(name: str, *arguments: object) -> str:
        script = ROOT / "docs" / "examples" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def import_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportBlock]:
    """Imports a module of CONTRIBUTING.md as if it lay where its first line says."""
    before = set(sys.modules)
    for path, code in MODULES.items():
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
    for package in (maskcond.segmentation, pfid.metrics, wsi_tiling.reading.formats):
        folder = tmp_path / "src" / package.__name__.replace(".", "/")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write_pictures(folder: Path, count: int, brightest: int = 256, side: int = 24) -> Path:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, brightest, (side, side, 3), np.uint8)
        PIL.Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def test_a_slide_is_sampled(run_example: RunExample, tmp_path: Path) -> None:
    config = UrcdmConfig((Level("low", 64, 16), Level("high", 32, 16)), mpp=0.5, tissue=TissueRule.everything())
    sampling = SamplingConfig(steps=2, lowres_noise=0.1)
    stages = tiny_stage(16, sampling=sampling), tiny_stage(16, 4, sampling, cond_images_channels=6)
    cascades = [Cascade(CascadeConfig((stage,)), [random_unet(stage)]) for stage in stages]
    Urcdm(config, cascades).save(tmp_path / "model")
    printed = run_example("sample_slide", tmp_path / "model", tmp_path / "slide.tiff", "--size", 64)
    assert "low 16 px: 1 of 1 patches" in printed
    with open_slide(tmp_path / "slide.tiff") as slide:
        assert slide.size_l0 == (32, 32)
    assert not (tmp_path / "slide.canvas").exists()


def test_a_network_is_trained_and_the_training_goes_on(
    run_example: RunExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sheets of samples are of hundreds of steps
    monkeypatch.setattr(cdm_core.training.monitor, "save_sample_sheet", lambda *_, **__: None)
    pictures, run = write_pictures(tmp_path / "pictures", 2), tmp_path / "run"
    size = ("--side", 8, "--channels", 8, "--batch", 2, "--steps", 2)
    assert "(1, 3, 8, 8)" in run_example("train_network", pictures, run, *size)
    state = (run / "state.pt").read_bytes()
    run_example("train_network", pictures, run, *size)
    assert (run / "state.pt").read_bytes() == state
    assert Cascade.load(run / "model").provenance["data"] == str(pictures)


def test_folders_are_evaluated(run_example: RunExample, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    real, fake = write_pictures(tmp_path / "real", 7), write_pictures(tmp_path / "fake", 6, brightest=99)
    lines = run_example("evaluate_folders", real, fake, "--allow-few").splitlines()
    assert {line.split()[0] for line in lines} >= {"FID", "KID", "precision", "recall", "density", "coverage"}
    assert all("7 real, 6 generated" in line for line in lines)


def test_images_are_sampled_from_masks(run_example: RunExample, tmp_path: Path) -> None:
    stage = tiny_stage(8)
    cascade = Cascade(CascadeConfig((stage,)), [random_unet(stage)])
    widen_for_masks(cascade, KUMAR).save(tmp_path / "model")
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "masks" / "diagonal.png")
    run_example("images_from_masks", tmp_path / "model", tmp_path / "masks", tmp_path / "out", "--variants", 2)
    images = {path.name: read_rgb(path) for path in sorted((tmp_path / "out").iterdir())}
    assert list(images) == ["diagonal-0.png", "diagonal-1.png"]
    assert {image.shape for image in images.values()} == {(8, 8, 3)}
    assert not np.array_equal(*images.values())


def test_the_solver_of_the_recipe_is_of_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (code for kind, code in BLOCKS if kind == "python" and "Solver(" in code)
    ((name, added),) = eval(f"{{{line}}}", vars(solver)).items()  # noqa: S307
    monkeypatch.setitem(solver.SOLVERS, name, added)
    schedule, start = Schedule(), draw_noise((3, 16, 16), [torch.Generator().manual_seed(0)], torch.device("cpu"))

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:  # exact for pixels from N(0, 1/4)
        alpha, sigma = schedule.alpha_sigma(t)
        return alpha / (alpha**2 + 4 * sigma**2) * x_t

    def error(steps: int) -> float:
        x = sample(denoise, start, schedule=schedule, times=sampling_times(steps, until=0.3), method=name)
        alpha, sigma = schedule.alpha_sigma(torch.tensor([0.3]))
        return float((x - start * (alpha**2 / 4 + sigma**2).sqrt()).abs().mean())

    assert math.log2(error(20) / error(80)) / 2 == pytest.approx(added.order, abs=0.2)


def test_the_slide_format_of_the_recipe_reads_and_refuses(
    import_block: ImportBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = import_block("wsi_tiling.reading.formats.numpy_array").NUMPY_ARRAY
    monkeypatch.setattr(openers, "FORMATS", (*openers.FORMATS, added))
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.save(tmp_path / "slide.npy", image)
    with open_slide(tmp_path / "slide.npy", mpp=0.5) as slide:
        np.testing.assert_array_equal(slide.read((0, 0), (40, 30), (40, 30)), image)
        assert slide.require_mpp() == 0.5
    np.save(tmp_path / "grey.npy", image[..., 0])
    (tmp_path / "cut.npy").write_bytes((tmp_path / "slide.npy").read_bytes()[:500])
    (tmp_path / "empty.npy").touch()
    for name in ("grey", "cut", "empty"):
        with pytest.raises(SlideError, match=rf"{name}\.npy: wanted an array"):
            open_slide(tmp_path / f"{name}.npy")


def test_the_metric_of_the_recipe_is_that_of_scipy(import_block: ImportBlock) -> None:
    energy = import_block("pfid.metrics.energy")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(1500, 1)), rng.normal(0.4, 2, size=(900, 1))
    wanted = scipy.stats.energy_distance(real[:, 0], fake[:, 0]) ** 2
    assert energy.energy_distance(real=real, fake=fake) == pytest.approx(wanted)
    values = energy.EnergyMetric().measure(real=real, fake=fake, rng=rng, device=None)
    assert values == {"energy distance": pytest.approx(wanted)}


def test_the_segmentation_model_of_the_recipe_learns_and_is_opened_again(
    import_block: ImportBlock, tmp_path: Path
) -> None:
    plan = import_block("maskcond.segmentation.nearest_colour.plan").NearestColourPlan()
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    light = np.where(labels[..., None] > 0, 100, 160) + rng.normal(0, 10, (64, 64, 3))
    pair = LabelledImage("blocks", light.clip(0, 255).astype(np.uint8), labels)
    where = {"device": torch.device("cpu"), "workers": 0, "plans": None}
    model = plan.model(tmp_path / "first", KUMAR, kind="training", **where)
    (progress,) = model.fit([pair])
    assert (progress.done, progress.total) == (1, plan.training.units)
    (predicted,) = plan.open(model.folder, device=where["device"]).predict([pair.image])
    assert dice(truth=labels, predicted=predicted) > 0.9
    tuned = plan.model(tmp_path / "second", KUMAR, kind="fine-tuning", **where)
    assert len(list(tuned.fit([pair], start_from=model.folder))) == 1
    assert list(tuned.fit([pair], start_from=model.folder)) == []


def test_the_plan_of_the_recipe_is_whole(tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCKS if kind == "toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    plan = read_plan(tmp_path / "mine.toml")
    assert [network.level for network in plan.networks] == ["overview", "cells"]
