"""Whatever a user gets wrong is told in one line, with exit code 1, and leaves nothing half-made."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RunApp = Callable[..., Any]


def refused(outcome: Any, *words: str) -> None:
    assert outcome.code == 1
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    for word in words:
        assert word in lines[0]


def test_a_missing_slide(run_app: RunApp, tmp_path: Path) -> None:
    refused(run_app("tile", tmp_path / "none.svs", "--out", tmp_path / "tiles"), "none.svs")
    assert not (tmp_path / "tiles").exists()


def test_a_file_that_is_no_slide(run_app: RunApp, tmp_path: Path) -> None:
    path = tmp_path / "text.svs"
    path.write_text("not a slide")
    refused(run_app("tile", path, "--out", tmp_path / "tiles"), "text.svs")
    refused(run_app("info", path), "text.svs")


def test_a_truncated_picture(run_app: RunApp, picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    refused(run_app("tile", path, "--mpp", "0.5", "--out", tmp_path / "tiles"), "half.png")
    assert not (tmp_path / "tiles").exists()


def test_a_slide_that_does_not_say_its_scale(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> None:
    refused(run_app("tile", picture, "--plan", plan, "--out", tmp_path / "tiles"), "disc.png", "mpp")


def test_a_slide_at_another_scale(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> None:
    outcome = run_app("tile", picture, "--mpp", "0.25", "--plan", plan, "--out", tmp_path / "tiles")
    refused(outcome, "0.25 um a pixel", "--plan with mpp = 0.25")


def test_no_tissue(run_app: RunApp, plan: Path, tmp_path: Path) -> None:
    path = tmp_path / "glass.png"
    Image.fromarray(np.full((300, 300, 3), 243, np.uint8)).save(path)
    arguments = ("tile", path, "--mpp", "0.5", "--plan", plan, "--out", tmp_path / "tiles")
    refused(run_app(*arguments), "no tissue", "--min-tissue", "--overwrite")
    assert (tmp_path / "tiles" / "glass.png").exists()  # the overview shows why
    assert not (tmp_path / "tiles" / "tiles.parquet").exists()


def test_tiles_that_are_there_already(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles.parquet").write_text("mine")
    outcome = run_app("tile", picture, "--mpp", "0.5", "--plan", plan, "--out", tmp_path)
    refused(outcome, "tiles.parquet exists", "move it away")
    refused(run_app("tile", picture, "--mpp", "0.5", "--plan", plan, "--out", tmp_path, "--overwrite"), "move it away")
    assert (tmp_path / "tiles.parquet").read_text() == "mine"


def test_an_unknown_key_in_a_plan(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(plan.read_text().replace("image_px = 16\nlowres_px", "image_px = 16\nlowers_px"))
    refused(run_app("tile", picture, "--plan", path), "mine.toml", "'networks.1.stage.lowers_px'", "'lowres_px'")


def test_a_plan_that_is_missing_or_no_toml(run_app: RunApp, picture: Path, tmp_path: Path) -> None:
    refused(run_app("tile", picture, "--plan", tmp_path / "none.toml"), "none.toml", "urcdm-app plan")
    (tmp_path / "broken.toml").write_text("a = = 1")
    refused(run_app("tile", picture, "--plan", tmp_path / "broken.toml"), "broken.toml", "TOML")


def test_training_without_tiles(run_app: RunApp, plan: Path, tmp_path: Path) -> None:
    outcome = run_app("train", "--tiles", tmp_path / "none", "--plan", plan, "--out", tmp_path / "run")
    refused(outcome, "none")
    assert not (tmp_path / "run").exists()


def test_training_a_network_that_is_not_in_the_plan(run_app: RunApp, plan: Path, tmp_path: Path) -> None:
    outcome = run_app("train", "--tiles", tmp_path, "--plan", plan, "--out", tmp_path / "run", "--only", "high-1024")
    refused(outcome, "high-1024", "low-16, medium-16, high-16")


def test_validation_on_a_slide_to_train_on(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "disc.png"  # the same name is the same slide
    link = tmp_path / "link.png"
    other.parent.mkdir()
    shutil.copy(picture, other)
    link.symlink_to(picture)
    copy = shutil.copy(picture, tmp_path / "copy.png")
    for path, folder in ((picture, "tiles"), (other, "named"), (link, "linked"), (copy, "copied")):
        arguments = ("tile", path, "--mpp", "0.5", "--plan", plan, "--out", tmp_path / folder)
        assert run_app(*arguments).code == 0
    arguments = ("train", "--plan", plan, "--tiles", tmp_path / "tiles", "--out", tmp_path / "run", "--validation")
    refused(run_app(*arguments, tmp_path / "named"), "validation", "disc is to train on too")
    refused(run_app(*arguments, tmp_path / "linked"), "validation", "link is to train on too")
    refused(run_app(*arguments, tmp_path / "copied"), "validation", "copy is to train on too")
    assert not (tmp_path / "run").exists()


def test_training_on_from_a_model_of_other_networks(
    run_app: RunApp, tiles: Path, plan: Path, model: Path, tmp_path: Path
) -> None:
    wider = tmp_path / "wider.toml"
    wider.write_text(plan.read_text().replace("dim = 8", "dim = 16"))
    outcome = run_app("train", "--tiles", tiles, "--plan", wider, "--from", model, "--out", tmp_path / "run")
    refused(outcome, "--from", "not those of the plan")
    assert not (tmp_path / "run").exists()


def test_what_is_there_is_kept_until_all_else_is_known_to_be_good(
    run_app: RunApp, plan: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "plan.toml").write_text(plan.read_text())
    arguments = ("train", "--tiles", tmp_path / "none", "--plan", plan, "--out", run, "--overwrite")
    refused(run_app(*arguments), "none")
    assert (run / "model").exists()
    canvas = tmp_path / "slide.canvas"
    canvas.mkdir()
    arguments = ("sample", "--model", model, "--out", tmp_path / "slide.tiff", "--size", "9999", "--overwrite")
    refused(run_app(*arguments), "9999")
    assert canvas.exists()


def test_training_on_a_gpu_by_number(run_app: RunApp, plan: Path, tmp_path: Path) -> None:
    outcome = run_app("train", "--tiles", tmp_path, "--plan", plan, "--out", tmp_path / "run", "--device", "cuda:1")
    refused(outcome, "cuda:1", "CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "9999"), ("1 to 256 px", "9999")),
        (("--size", "large"), ("--size large", "2048x1536")),
        (("--device", "abacus"), ("abacus", "--device cpu")),
        (("--out", "slide.jpg"), ("slide.jpg", ".tiff")),
        (("--model", "nowhere"), ("nowhere", "model.toml")),
    ],
)
def test_a_slide_that_cannot_be_drawn(
    run_app: RunApp,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run_app("sample", "--model", model, *arguments), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["slide.tiff", "slide.png"])
def test_a_slide_that_is_there_already(run_app: RunApp, model: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    refused(run_app("sample", "--model", model, "--out", tmp_path / "slide.tiff"), f"{name} exists", "--overwrite")
    assert (tmp_path / name).read_text() == "mine"


def test_truncated_weights(run_app: RunApp, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    path = broken / "medium" / "stage-1.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    refused(run_app("sample", "--model", broken, "--out", tmp_path / "slide.tiff"), "medium/stage-1.safetensors")
    assert not (tmp_path / "slide.tiff").exists()


def test_an_unfinished_run_is_neither_dropped_nor_mixed_with_another(
    run_app: RunApp, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "slide.tiff"
    arguments = ("sample", "--model", model, "--out", out, "--size", "48", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.SlideRun.write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        stopped = run_app(*arguments)
    assert stopped.code == 130
    assert "--resume" in stopped.err
    refused(run_app(*arguments), "slide.canvas", "--resume", "--overwrite")
    refused(run_app(*arguments, "--resume", "--seed", "1"), "seed = 0, not 1")
    assert run_app(*arguments, "--resume").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slide.html", "slide.json", "slide.png", "slide.tiff"]
    assert run_app(*arguments, "--overwrite").code == 0


def test_a_folder_with_a_model_that_is_no_run_is_left_alone(
    run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "model.toml").write_text("mine")
    for way in ((), ("--overwrite",), ("--resume",)):
        outcome = run_app("train", "--tiles", tiles, "--plan", plan, "--out", run, "--device", "cpu", *way)
        refused(outcome, f"{run / 'model'}", "no run of urcdm-app train recorded")
    assert [path.name for path in run.rglob("*")] == ["model", "model.toml"]


def test_only_what_can_go_on_says_so_when_it_is_stopped(
    run_app: RunApp, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urcdm_app.view.run.open_to_show", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    stopped = run_app("view", picture)
    assert (stopped.code, stopped.err.strip()) == (130, "stopped")


@pytest.mark.parametrize("size", ["0", "\u00b2", "9" * 5000, "x", "40x", "nan"])
def test_sizes_that_are_none(run_app: RunApp, model: Path, tmp_path: Path, size: str) -> None:
    refused(run_app("sample", "--model", model, "--out", tmp_path / "slide.tiff", "--size", size), "wanted a")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["meta", "nothing", "cuda:99"])
def test_devices_that_are_none(run_app: RunApp, model: Path, tmp_path: Path, device: str) -> None:
    refused(run_app("sample", "--model", model, "--out", tmp_path / "slide.tiff", "--device", device), device)


def test_a_name_that_is_no_text(run_app: RunApp, model: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"sl\xffide.tiff")
    outcome = run_app("sample", "--model", model, "--size", "32", "--out", out, "--device", "cpu")
    refused(outcome, "sl\\xffide.tiff", "not valid UTF-8")


def test_slides_that_would_replace_a_folder_or_a_link(run_app: RunApp, model: Path, tmp_path: Path) -> None:
    arguments = ("sample", "--model", model, "--size", "32", "--device", "cpu", "--out")
    (tmp_path / "folder.tiff").mkdir()
    refused(run_app(*arguments, tmp_path / "folder.tiff", "--overwrite"), "folder.tiff is a folder")
    (tmp_path / "link.tiff").symlink_to(tmp_path / "nowhere")
    refused(run_app(*arguments, tmp_path / "link.tiff"), "link.tiff exists")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.tiff", "link.tiff"]


def test_a_report_belongs_to_one_slide(run_app: RunApp, model: Path, tmp_path: Path) -> None:
    for suffix in ("png", "html"):
        (tmp_path / f"slide.{suffix}").write_text("of slide.tiff")
    report = {"slide": "slide.tiff", "model": {}, "settings": {}, "stages": []}
    (tmp_path / "slide.json").write_text(json.dumps(report))
    outcome = run_app("sample", "--model", model, "--size", "32", "--out", tmp_path / "slide.tif", "--overwrite")
    refused(outcome, "slide.png exists, and no report beside it")
