"""What is trained on and what measures the loss: by the split of the tiles, from slides and from shards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from urcdm import Urcdm

RunApp = Callable[..., Any]


@pytest.fixture
def tiles(run_app: RunApp, picture: Path, plan: Path, tmp_path: Path) -> Path:
    """A table of two slides, one to train on, one to validate on."""
    slides, folder = tmp_path / "slides", tmp_path / "tiles"
    slides.mkdir()
    with Image.open(picture) as image:
        image.save(slides / "one.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(slides / "two.png")
    arguments = ("--mpp", "0.5", "--plan", plan, "--out", folder, "--split", "train=0.5,validation=0.5")
    tiled = run_app("tile", slides, *arguments)
    assert tiled.code == 0, tiled.err
    return folder


def slide_of(tiles: Path, split: str) -> str:
    frame = pd.read_parquet(tiles / "tiles.parquet")
    (name,) = frame["slide"][frame["split"] == split].unique()
    return str(name)


def validation_losses(log: Path) -> list[float]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["validation_loss"] for line in lines if line.get("validation_loss") is not None]


def test_the_split_of_the_tiles_tells_what_is_held_out(
    run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    trained = run_app("train", "--tiles", tiles, "--plan", plan, "--out", run, "--device", "cpu")
    assert trained.code == 0, trained.err
    assert Urcdm.load(run / "model").provenance["data"] == slide_of(tiles, "train")
    assert validation_losses(run / "medium-16" / "log.jsonl")


def test_slides_that_have_changed_since_they_were_tiled_are_refused(
    run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "slides" / f"{slide_of(tiles, 'train')}.png")
    trained = run_app("train", "--tiles", tiles, "--plan", plan, "--out", tmp_path / "run", "--device", "cpu")
    assert trained.code == 1
    assert "has changed since its tiles were found" in trained.err
    assert not (tmp_path / "run").exists()


def test_shards_serve_as_slides_do(run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path) -> None:
    shards, run = tmp_path / "shards", tmp_path / "run"
    exported = run_app("export", "--tiles", tiles, "--plan", plan, "--out", shards)
    assert exported.code == 0, exported.err
    trained_on = slide_of(tiles, "train")
    for path in (tmp_path / "slides").iterdir():
        path.unlink()  # they are not needed any more
    arguments = ("train", "--tiles", shards, "--plan", plan, "--device", "cpu", "--out")
    trained = run_app(*arguments, run)
    assert trained.code == 0, trained.err
    assert Urcdm.load(run / "model").provenance["data"] == trained_on
    assert validation_losses(run / "high-16" / "log.jsonl")
    shared = run_app(*arguments, tmp_path / "other", "--validation", shards)
    assert (shared.code, f"{trained_on} is to train on too" in shared.err) == (1, True)
    (shards / "low" / "shards.json").unlink()
    missing = run_app(*arguments, tmp_path / "other", "--only", "low-16")
    assert (missing.code, "no shards of level 'low'" in missing.err) == (1, True)


def test_without_tiles_to_train_on(run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(tiles / "tiles.parquet")
    frame.assign(split="test").to_parquet(tiles / "tiles.parquet")
    failed = run_app("train", "--tiles", tiles, "--plan", plan, "--out", tmp_path / "run", "--device", "cpu")
    assert (failed.code, "no tiles to train on" in failed.err) == (1, True)
    assert not (tmp_path / "run").exists()
