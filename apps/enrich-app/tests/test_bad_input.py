"""Whatever a user gets wrong is told in one line, with exit code 1, and leaves nothing behind."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from enrich_app.configurations import NAMES, configuration_text
from maskcond.enrichment import read_enrichment_config
from maskcond.segmentation import SegmentationError

RunApp = Callable[..., Any]


def refused(outcome: Any, *words: str) -> None:
    assert outcome.code == 1
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("enrich-app: ")
    for word in words:
        assert word in lines[0], lines[0]


def changed(config: Path, old: str, new: str) -> Path:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))
    return config


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("images = 8", "imges = 8", ("unknown key 'sampling.imges'", "did you mean 'images'")),
        ("seeds = 2", 'seeds = "many"', ("segmentation.seeds",)),
        ("crop_px = 32\n", "crop_px = 64\n", ("data.scale", "0.5")),
        ("[data]", "[data", ("cannot be read as TOML",)),
        ('masks = "nuclei"', 'masks = "classes"', ("KUMAR", "nuclei")),
    ],
)
def test_configurations(
    run_app: RunApp, config_file: Path, tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    refused(run_app("run", changed(config_file, old, new), "--out", tmp_path / "run"), "tiny.toml", *words)
    assert not (tmp_path / "run").exists()


def test_a_configuration_that_is_missing(run_app: RunApp, tmp_path: Path) -> None:
    refused(run_app("run", tmp_path / "none.toml"), "none.toml", "no such file")
    refused(run_app("plan", "large"), "no configuration 'large'", "kumar-small")


def test_a_test_image_in_training(run_app: RunApp, config_file: Path, kumar: Path, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    with PIL.Image.open(kumar / "images" / "seen-0.png") as picture:
        picture.save(tiles / "tile-7.png", compress_level=0)
    config = changed(config_file, "unannotated = []", 'unannotated = ["tiles"]')
    refused(run_app("run", config, "--out", tmp_path / "run", "--dry-run"), "seen-0", "same pixels", "tile-7")


def test_models_to_take_that_are_not_there(run_app: RunApp, config_file: Path, tmp_path: Path) -> None:
    text = config_file.read_text()
    without = re.sub(r"\[\[cascade.training\]\].*?(?=\[\[cascade|\[mask_cascade)", "", text, flags=re.DOTALL)
    assert "[cascade]" not in without
    config_file.write_text(
        re.sub(r"(?m)^\[mask_cascade", '[cascade]\nfolder = "gone"\n\n[mask_cascade', without, count=1)
    )
    refused(run_app("run", config_file, "--out", tmp_path / "run", "--dry-run"), "gone", "model")


def test_nnunet_that_is_not_installed(
    run_app: RunApp, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, *, extra: str, use: str) -> None:
        raise SegmentationError(f"{use} needs {module}; install it with: pip install 'maskcond[{extra}]'")

    monkeypatch.setattr("maskcond.segmentation.nnunet.plan.import_extra", missing)
    config = changed(config_file, 'model = "small-unet"', 'model = "nnunet"')
    refused(run_app("run", config, "--out", tmp_path / "run"), "nnU-Net needs nnunetv2", "maskcond[nnunet]")
    assert not (tmp_path / "run").exists()


def test_devices_that_are_none(run_app: RunApp, config_file: Path) -> None:
    refused(run_app("run", config_file, "--device", "abacus"), "abacus", "auto, cpu or cuda")


def test_several_processes_of_a_launcher(
    run_app: RunApp, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(
        run_app("run", config_file, "--out", tmp_path / "run"), "a launcher started 2 processes", "without a launcher"
    )
    monkeypatch.setenv("RANK", "1")
    silent = run_app("run", config_file, "--out", tmp_path / "run")
    assert (silent.code, silent.err) == (1, "")
    assert not (tmp_path / "run").exists()


def test_files_of_the_users_in_the_folder_of_a_run(run_app: RunApp, config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("config.toml", "report.html"):
        (tmp_path / "run" / name).write_text("mine")
        arguments = ("run", config_file, "--out", tmp_path / "run", "--overwrite", "--device", "cpu")
        refused(run_app(*arguments), f"{name} exists, and no run of enrich-app recorded that it wrote it")
        assert (tmp_path / "run" / name).read_text() == "mine"
        (tmp_path / "run" / name).unlink()


def test_reports_of_what_is_no_run(run_app: RunApp, tmp_path: Path) -> None:
    refused(run_app("report", tmp_path), "no run of enrich-app")
    (tmp_path / "config.toml").write_text("")
    refused(run_app("report", tmp_path), "is not done")
    refused(run_app("report", tmp_path, "--out", tmp_path / "page.txt"), ".html")


@pytest.mark.parametrize("name", NAMES)
def test_configurations_to_start_from_are_valid(run_app: RunApp, tmp_path: Path, name: str) -> None:
    printed = run_app("plan", name)
    assert printed.code == 0
    assert printed.out == configuration_text(name)
    path = tmp_path / "plan.toml"
    path.write_text(printed.out)
    assert read_enrichment_config(path).data.kumar == tmp_path / "kumar"


def test_help_does_not_wait_for_heavy_imports() -> None:
    code = """
import sys
from enrich_app.cli import main
sys.argv = ["enrich-app", "--help"]
try:
    main()
except SystemExit:
    sys.exit(bool({"torch", "numpy", "matplotlib"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
