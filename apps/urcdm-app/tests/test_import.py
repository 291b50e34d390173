"""`urcdm-app import`, and models from elsewhere in the commands that take one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from cdm_core import save_imagen_checkpoint
from run_folder import UsageError
from urcdm import Urcdm
from urcdm.presets import PLANS
from urcdm_app.import_model import files_by_level

RunApp = Callable[..., Any]


@pytest.fixture
def checkpoints(model: Path, tmp_path: Path) -> list[str]:
    """The networks of the model as files of imagen-pytorch, whose raw weights are others."""
    arguments = []
    loaded = Urcdm.load(model)
    for level, cascade in zip(loaded.config.levels, loaded.cascades, strict=True):
        path = tmp_path / f"checkpoint of {level.name}.pt"
        save_imagen_checkpoint(cascade, path)
        values = torch.load(path, weights_only=True)
        values["model"] = {name: value + 1 for name, value in values["model"].items()}
        torch.save(values, path)
        arguments.append(f"{level.name}-16={path}")
    return arguments


def refused(outcome: Any, *words: str) -> None:
    assert outcome.code == 1
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    for word in words:
        assert word in outcome.err


def slide_of(run_app: RunApp, source: str | Path, out: Path) -> Any:
    """The pixels of a small slide from a model."""
    outcome = run_app("sample", "--model", source, "--out", out, "--size", "48", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    return tifffile.imread(out)


def test_an_imported_model_draws_the_slide_of_the_model_that_its_weights_are_of(
    run_app: RunApp, model: Path, plan: Path, checkpoints: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "imported"
    outcome = run_app("import", *checkpoints, "--plan", plan, "--out", out)
    assert outcome.code == 0, outcome.err
    assert f"urcdm-app sample --model {out}" in outcome.out
    slides = [slide_of(run_app, each, tmp_path / f"{each.name}.tiff") for each in (model, out)]
    np.testing.assert_array_equal(*slides)
    told = run_app("info", out).out
    assert f"source: {out}" in told
    assert "weights: running mean (EMA), single precision" in told
    assert "medium-16: checkpoint of medium.pt, U-Net 2, 0 steps, imagen-pytorch" in told


def test_the_weights_asked_for_are_taken(
    run_app: RunApp, model: Path, plan: Path, checkpoints: list[str], tmp_path: Path
) -> None:
    by_level = [text.replace("-16=", "=") for text in checkpoints]
    outcome = run_app("import", *by_level, "--plan", plan, "--out", tmp_path / "raw", "--raw", "--half")
    assert outcome.code == 0, outcome.err
    means, raw = (Urcdm.load(folder) for folder in (model, tmp_path / "raw"))
    assert raw.provenance["weights"] == "as trained, half precision"
    for wanted, found in zip(means.cascades, raw.cascades, strict=True):
        tensors = found.unets[0].state_dict()
        for name, value in wanted.unets[0].state_dict().items():
            torch.testing.assert_close(tensors[name], (value + 1).half().float(), rtol=0, atol=0)


def test_files_go_to_the_networks_that_they_are_named_for() -> None:
    study = [network.name for network in PLANS["study"].networks]
    letters = dict(zip(study, "abcdefghi", strict=True))
    nine = [f"{name}=README.md" for name in reversed(study)]
    files = files_by_level(PLANS["study"], nine)
    assert {level: len(paths) for level, paths in files.items()} == {"low": 3, "medium": 3, "high": 3}
    with pytest.raises(UsageError, match=r"low-256=b: no such file"):
        files_by_level(PLANS["study"], ["low-64=README.md", *(f"{n}={letters[n]}" for n in study[1:])])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("low=x", "medium=x"), ("no file for high-64, high-256, high-1024", "high-64=FILE")),
        (("low=x", "lower=x"), ("no 'lower'", "low-64, low-256, low-1024, medium-64", "low, medium, high")),
        (("low=x", "low-64=x"), ("low-64 is given twice",)),
        (("a.pt",), ("a.pt: wanted NETWORK=FILE", "low-64=a.pt")),
        (("low=",), ("wanted NETWORK=FILE",)),
        (("low=x", "medium=x", "high=x"), ("low-64=x: no such file",)),
        (("low=x", "--plan", "studdy"), ("studdy: no such plan",)),
    ],
)
def test_networks_without_a_file_or_files_without_a_network_are_named(
    run_app: RunApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run_app("import", *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_are_refused(
    run_app: RunApp, plan: Path, checkpoints: list[str], tmp_path: Path
) -> None:
    low = checkpoints[0].partition("=")[2]
    outcome = run_app("import", *checkpoints[:2], f"high={low}", "--plan", plan, "--out", tmp_path / "model")
    refused(outcome, "level 'high'", "checkpoint of low.pt", "16 px", "tensor '", "of another network")
    assert not list(tmp_path.glob("*model*"))


def test_only_a_model_is_replaced_and_only_when_asked(
    run_app: RunApp, model: Path, plan: Path, checkpoints: list[str], tmp_path: Path
) -> None:
    mine, old = tmp_path / "mine", tmp_path / "old"
    mine.mkdir()
    shutil.copytree(model, old)
    arguments = ("import", *checkpoints, "--plan", plan, "--out")
    refused(run_app(*arguments, mine), "mine exists", "--overwrite")
    refused(run_app(*arguments, mine, "--overwrite"), "not a model folder")
    assert mine.exists()
    (old / "notes.txt").write_text("mine")
    refused(run_app(*arguments, old, "--overwrite"), "notes.txt is not part of a model")
    (old / "notes.txt").unlink()
    refused(run_app(*arguments, old), "old exists")
    assert run_app(*arguments, old, "--overwrite").code == 0
    assert "imported_by" in Urcdm.load(old).provenance


def test_every_command_takes_a_zip(run_app: RunApp, model: Path, tiles: Path, plan: Path, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", model.parent, model.name)
    slides = [slide_of(run_app, each, tmp_path / f"{i}.tiff") for i, each in enumerate((model, packed))]
    np.testing.assert_array_equal(*slides)
    with tifffile.TiffFile(tmp_path / "1.tiff") as file:
        assert "from model 'packed.zip'" in file.pages[0].description
    assert f"source: {packed}" in run_app("info", packed).out
    arguments = ("train", "--tiles", tiles, "--plan", plan, "--out", tmp_path / "run", "--device", "cpu")
    trained = run_app(*arguments, "--steps", "1", "--from", packed)
    assert trained.code == 0, trained.err


def test_every_command_takes_a_repository(
    run_app: RunApp, model: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the cache of the hub's library, as there is no network here."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    unknown = "Hugging Face cannot be reached"
    refused(run_app("sample", "--model", "lab/tiny"), "lab/tiny", unknown)
    refused(run_app("info", "hf://lab/tiny"), unknown)
    refused(run_app("train", "--tiles", "none", "--plan", plan, "--from", "lab/tiny"), unknown)
    repository = tmp_path / "hub" / "models--lab--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    shutil.copytree(model, repository / "snapshots" / ("1" * 40))
    slides = [
        slide_of(run_app, source, tmp_path / f"{i}.tiff")
        for i, source in enumerate((model, "lab/tiny", "hf://lab/tiny@main"))
    ]
    np.testing.assert_array_equal(slides[0], slides[1])
    np.testing.assert_array_equal(slides[0], slides[2])
    assert "source: lab/tiny on Hugging Face, in " in run_app("info", "lab/tiny").out.replace("\n", "")


def test_a_slide_that_is_not_there_is_not_asked_for_on_the_hub(
    run_app: RunApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urcdm_app.info.fetch_model", lambda source: pytest.fail(f"asked for {source}"))
    refused(run_app("info", "slides/patient.svs"), "slides/patient.svs")
