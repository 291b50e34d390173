import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

RunApp = Callable[..., Any]


@pytest.fixture
def copied(pictures: Path, tmp_path: Path) -> Path:
    """Generated images of which a quarter are training images, hardly changed."""
    folder = tmp_path / "copied"
    shutil.copytree(pictures / "other", folder)
    for seed in range(6):
        pixels = np.asarray(PIL.Image.open(pictures / "real" / f"{seed:03d}.png"))
        PIL.Image.fromarray(pixels ^ 1).save(folder / f"{100 + seed}.png")
    return folder


@pytest.mark.parametrize("held_out", [True, False])
def test_copies_are_found_and_shown(
    run_app: RunApp, pictures: Path, copied: Path, network: Path, tmp_path: Path, held_out: bool
) -> None:
    out = tmp_path / "memorise"
    more = ("--held-out", pictures / "other") if held_out else ()
    arguments = ("memorise", "--train", pictures / "real", "--fake", copied, *more, "--extractor", network)
    done = run_app(*arguments, "--out", out)
    assert done.code == 0, done.err
    document = json.loads((out / "memorise.json").read_text())
    nearest = {pair["fake"]: pair for pair in document["neighbours"]}
    assert len(nearest) == 24
    for seed in range(6):
        pair = nearest[f"{100 + seed}.png"]
        assert (pair["train"], pair["copy"]) == (f"{seed:03d}.png", True)
    assert [pair["fake"] for pair in document["neighbours"][:6]] == sorted(
        (f"{100 + seed}.png" for seed in range(6)), key=lambda name: nearest[name]["distance"]
    )
    share, p = (figure["value"] for figure in document["figures"])
    assert share >= 6 / 24
    assert 0 < p < 1
    with PIL.Image.open(out / "pairs.png") as picture:
        assert picture.width > 400


def test_damaged_images_that_are_left_out_do_not_shift_the_others(
    run_app: RunApp, pictures: Path, copied: Path, network: Path, tmp_path: Path
) -> None:
    data = (copied / "100.png").read_bytes()
    (copied / "000.png").write_bytes(data[: len(data) // 2])  # it opens, but has no pixels
    arguments = ("memorise", "--train", pictures / "real", "--fake", copied, "--extractor", network)
    done = run_app(*arguments, "--out", tmp_path / "memorise", "--skip-unreadable")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "memorise" / "memorise.json").read_text())
    nearest = {pair["fake"]: pair["train"] for pair in document["neighbours"]}
    assert nearest["103.png"] == "003.png"
    assert "000.png" not in nearest


def test_duplicates_among_the_training_images_change_nothing_and_are_counted(
    run_app: RunApp, pictures: Path, copied: Path, network: Path, tmp_path: Path
) -> None:
    train, found = tmp_path / "train", {}
    shutil.copytree(pictures / "real", train)
    for name in ("once", "twice"):
        arguments = ("memorise", "--train", train, "--fake", copied, "--extractor", network)
        done = run_app(*arguments, "--out", tmp_path / name)
        assert done.code == 0, done.err
        found[name] = [
            pair["copy"] for pair in json.loads((tmp_path / name / "memorise.json").read_text())["neighbours"]
        ]
        for seed in range(3):
            shutil.copy(train / f"{seed:03d}.png", train / f"copy of {seed}.png")
    assert found["once"] == found["twice"]
    assert "3 training images repeat another one: left out of the threshold" in done.out


def test_a_folder_for_results_inside_the_images_is_refused(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    shutil.copytree(pictures / "dark", fake)
    before = sorted(fake.iterdir())
    for command, out in (("memorise", fake), ("memorise", fake / "memorise"), ("pfid", fake / "pfid")):
        side = "--train" if command == "memorise" else "--real"
        refused = run_app(command, side, pictures / "real", "--fake", fake, "--out", out)
        assert refused.code == 1
        assert "all of whose images are read" in refused.err
    assert sorted(fake.iterdir()) == before
