import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openslide
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from cdm_core import StageConfig, TrainingConfig
from cdm_core.memory import SamplingMemory, TrainingMemory
from cdm_core.presets import preset
from urcdm import Urcdm
from urcdm.presets import PLANS
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from urcdm_app.options.kinds import STUDY_PLANS

RunApp = Callable[..., Any]


def test_tile_train_and_sample_work_one_after_the_other(
    run_app: RunApp, plan: Path, picture: Path, tmp_path: Path
) -> None:
    tiles, run, out = tmp_path / "tiles", tmp_path / "run", tmp_path / "slides" / "new.tiff"
    tiled = run_app("tile", picture, "--mpp", "0.5", "--plan", plan, "--out", tiles)
    assert tiled.code == 0, tiled.err
    table = pd.read_parquet(tiles / "tiles.parquet")
    assert set(table["field_l0"]) == {256, 64, 16}
    with Image.open(tiles / "disc.png") as overview:
        assert max(overview.size) >= 400

    trained = run_app("train", "--tiles", tiles, "--plan", plan, "--out", run, "--device", "cpu")
    assert trained.code == 0, trained.err
    assert Urcdm.load(run / "model").provenance["data"] == "disc"
    assert (run / "high-16" / "samples" / "0000002.png").exists()

    sampled = run_app("sample", "--model", run / "model", "--out", out, "--size", "48x32", "--device", "cpu")
    assert sampled.code == 0, sampled.err
    assert openslide.OpenSlide(out).dimensions == (48, 32)
    assert sorted(p.name for p in out.parent.iterdir()) == ["new.html", "new.json", "new.png", "new.tiff"]


def test_training_goes_on_where_it_stopped(
    run_app: RunApp, plan: Path, picture: Path, tiles: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ("train", "--tiles", tiles, "--plan", plan, "--out", run, "--device", "cpu")
    first = run_app(*arguments, "--only", "low-16")
    assert first.code == 0
    assert "still to train" in first.out
    assert not (run / "model").exists()

    again = run_app(*arguments)
    assert (again.code, "--resume" in again.err) == (1, True)
    other = run_app(*arguments, "--resume", "--steps", "3")
    assert (other.code, f"--resume --plan {run / 'plan.toml'}" in other.err) == (1, True)
    elsewhere = tmp_path / "elsewhere"
    assert run_app("tile", picture, "--mpp", "0.5", "--plan", plan, "--out", elsewhere, "--overlap", "0.5").code == 0
    other = run_app(*arguments, "--resume", "--tiles", elsewhere)
    assert (other.code, f"{run} was started with other tiles" in other.err) == (1, True)
    state = (run / "low-16" / "state.pt").stat().st_mtime_ns
    assert run_app(*arguments, "--resume").code == 0
    assert (run / "low-16" / "state.pt").stat().st_mtime_ns == state  # it was done: not trained again
    assert (run / "model" / "model.toml").exists()


def test_a_model_is_trained_on_from_another(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    run, grown = tmp_path / "run", tmp_path / "grown.toml"
    grown.write_text(plan.read_text() + "init_conv_to_final_conv_residual = true\n")  # of the last network
    trained = run_app("train", "--tiles", tiles, "--plan", grown, "--out", run, "--from", model, "--device", "cpu")
    assert trained.code == 0, trained.err
    before, after = Urcdm.load(model), Urcdm.load(run / "model")
    weights = after.cascades[2].unets[0].state_dict()
    for name, value in before.cascades[2].unets[0].state_dict().items():
        if weights[name].shape == value.shape:
            assert (weights[name] - value).abs().max() < 0.01, name
    assert weights["final_res_block.block1.project.weight"].shape[1] == 2 * 8


def test_the_loss_on_held_out_slides_is_measured(
    run_app: RunApp, plan: Path, picture: Path, tiles: Path, tmp_path: Path
) -> None:
    held_out = tmp_path / "held-out.png"
    with Image.open(picture) as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(held_out)
    tiled = run_app("tile", held_out, "--mpp", "0.5", "--plan", plan, "--out", tmp_path / "validation")
    assert tiled.code == 0, tiled.err
    run = tmp_path / "run"
    arguments = ("train", "--plan", plan, "--tiles", tiles, "--validation", tmp_path / "validation")
    trained = run_app(*arguments, "--out", run, "--device", "cpu", "--only", "medium-16")
    assert trained.code == 0, trained.err
    assert "validation 0." in trained.out or "validation 1." in trained.out
    last = json.loads((run / "medium-16" / "log.jsonl").read_text().splitlines()[-1])
    assert last["validation_loss"] > 0


def test_the_built_in_model_draws_a_slide(run_app: RunApp, tmp_path: Path) -> None:
    out = tmp_path / "slide.tiff"
    sampled = run_app("sample", "--out", out, "--size", "256", "--steps", "2", "--device", "cpu")
    assert sampled.code == 0, sampled.err
    assert "with other numbers of steps they sample worse" in sampled.out
    slide = openslide.OpenSlide(out)
    assert slide.dimensions == (256, 256)
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499)
    assert "Synthetic" in slide.properties["openslide.comment"]


def test_the_built_in_models_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in builtin.MODEL.parent.rglob("*.safetensors")) < 55e6


def test_a_model_may_be_named_in_any_letters(run_app: RunApp, model: Path, tmp_path: Path) -> None:
    named = tmp_path / "Gewebe-\u00fc"
    shutil.copytree(model, named)
    sampled = run_app("sample", "--model", named, "--out", tmp_path / "s.tiff", "--size", "16", "--device", "cpu")
    assert sampled.code == 0, sampled.err
    assert "Gewebe-?" in openslide.OpenSlide(tmp_path / "s.tiff").properties["openslide.comment"]


def test_info_estimates_the_memory_of_a_plan(
    run_app: RunApp, plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = TrainingMemory(2, 10**9, 10**9, 2 * 10**9, 10**9, 3 * 10**8, 7 * 10**9)
    estimated = []

    class Memory:
        parameters = 250_000_000

        def __init__(self, stage: StageConfig, training: TrainingConfig) -> None:
            estimated.append(stage.unet.cond_images_channels)
            self.training_memory = lambda: step
            self.sampling_memory = lambda: SamplingMemory(5 * 10**8, 2 * 10**7)

        def largest_chunk(self, limit: int) -> int:
            return limit // (30 * 10**9)

    monkeypatch.setattr("urcdm_app.plan_info.StageMemory", Memory)
    monkeypatch.setattr("urcdm_app.plan_info.console", Console(width=80))
    shown = run_app("info", "--plan", plan)
    assert shown.code == 0, shown.err
    rows = {line.split()[0]: line for line in shown.out.splitlines() if "250.0 M" in line}
    assert list(rows) == ["low-16", "medium-16", "high-16"]
    assert len(estimated) == len(set(estimated))  # networks that are alike are estimated once
    assert " ".join(rows["low-16"].split()) == "low-16 250.0 M 2 of 2 5.0 0.30 7.0 - 1 2 4 0.50 + 0.02"
    both = run_app("info", "slide.svs", "--plan", plan)
    assert (both.code, "both slide.svs and --plan" in both.err) == (1, True)
    missing = run_app("info", "--plan", tmp_path / "none.toml")
    assert (missing.code, "no such plan" in missing.err) == (1, True)


def test_info_tells_of_models_and_slides(run_app: RunApp, picture: Path) -> None:
    of_model = run_app("info")
    assert of_model.code == 0
    assert "CMU-1-Small-Region.svs" in of_model.out
    of_slide = run_app("info", picture)
    assert "400 x 300 px, scale unknown" in of_slide.out


def test_the_printed_plan_is_the_one_that_is_followed(run_app: RunApp) -> None:
    assert run_app("plan").out == builtin.PLAN.read_text()


def test_the_studys_plans_can_be_printed_and_read_back(run_app: RunApp, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(run_app("plan", "study").out)
    assert read_plan(tmp_path / "plan.toml") == PLANS["study"]
    unknown = run_app("plan", "kidneys")
    assert unknown.code == 1
    assert "no plan 'kidneys'; there are small, study, study-code, airs" in unknown.err
    assert tuple(PLANS) == STUDY_PLANS


def test_the_small_presets_are_the_built_in_plan_and_model() -> None:
    plan, model = read_plan(builtin.PLAN), Urcdm.load(builtin.TEACHER)
    for level, name in enumerate(("small-low", "small-medium", "small-high")):
        assert plan.cascade(level) == model.cascades[level].config == preset(name).cascade
        assert tuple(network.training for network in plan.of_level(level)) == preset(name).training


def test_help_does_not_wait_for_heavy_imports() -> None:
    code = """
import sys
from urcdm_app.cli import main
sys.argv = ["urcdm-app", "--help"]
try:
    main()
except SystemExit:
    sys.exit(bool({"torch", "numpy", "pandas", "zarr"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
