"""Whatever a user gets wrong is reported in one line, with exit code 1, and leaves nothing half-made."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from run_folder import FolderLock

RunApp = Callable[..., Any]


def refused(outcome: Any, *words: str) -> None:
    assert outcome.code == 1
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("eval-app: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def few(pictures: Path, tmp_path: Path) -> Path:
    """A folder of five images, for six features."""
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(5):
        shutil.copy(pictures / "real" / f"{seed:03d}.png", folder)
    return folder


def test_too_few_images(run_app: RunApp, pictures: Path, few: Path, network: Path, tmp_path: Path) -> None:
    arguments: tuple[str | Path, ...]
    arguments = ("fid", pictures / "real", few, "--extractor", network, "--out", tmp_path / "fid.json")
    refused(run_app(*arguments), "5 images in", "few: a Frechet", "6 features takes 7 or more", "--allow-few")
    arguments = ("pfid", "--real", pictures / "real", "--fake", few, "--extractor", network, "--crops", "6")
    refused(run_app(*arguments, "--patch", "32", "--out", tmp_path / "pfid"), "6 crops a side:", "--allow-few")
    arguments = ("memorise", "--train", few, "--fake", pictures / "dark", "--extractor", network)
    refused(run_app(*arguments, "--out", tmp_path / "memorise"), "5 training images", "takes 20 or more")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few"]


def test_folders_that_are_missing_or_empty(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, words in ((tmp_path / "none", "no such f"), (tmp_path / "empty", "no images in it")):
        refused(run_app("fid", pictures / "real", place, "--extractor", network), str(place), words)
        sides = ("--real", pictures / "real", "--fake", place)
        refused(run_app("pfid", *sides, "--extractor", network, "--out", tmp_path / "out"), str(place))
        sides = ("--train", pictures / "real", "--fake", place)
        refused(run_app("memorise", *sides, "--extractor", network, "--out", tmp_path / "out"), str(place), words)
        refused(run_app("export", place, "--size", "32", "--out", tmp_path / "data.zip"), str(place))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_slides_where_whole_images_are_wanted(run_app: RunApp, pictures: Path, slides: Path, network: Path) -> None:
    for words in (
        ("fid", pictures / "real", slides / "a.tiff"),
        ("memorise", "--train", pictures / "real", "--fake", slides / "a.tiff"),
    ):
        refused(run_app(*words, "--extractor", network), "a.tiff", "eval-app pfid", "eval-app export")


def test_images_that_are_too_small_for_the_crops(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    arguments = ("pfid", "--real", pictures / "real", "--fake", pictures / "dark", "--extractor", network)
    refused(run_app(*arguments, "--out", tmp_path / "pfid"), "24 of 24 images are smaller than 256 px")
    assert not (tmp_path / "pfid").exists()


def test_a_plan_that_is_none(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.npz").write_text("no plan")
    arguments = ("pfid", "--real", pictures / "real", "--fake", pictures / "dark", "--extractor", network)
    refused(run_app(*arguments, "--plan", tmp_path / "plan.npz", "--out", tmp_path / "out"), "no crop plan")


def test_extractors_that_are_none(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.pt"
    text.write_text("no network")
    folder = tmp_path / "inception"
    folder.mkdir()
    (folder / "inception-2015-12-05.pt").write_text("no network")
    for arguments, words in (
        (("--extractor", tmp_path / "none.pt"), ("none.pt", "no such file", "'light', 'inception'")),
        (("--extractor", text), ("text.pt", "cannot be read as TorchScript")),
        (("--extractor", "inception"), ("--inception-folder",)),
        (("--inception-folder", tmp_path), ("inception-2015-12-05.pt", "no such file")),
        (("--inception-folder", folder), ("inception-2015-12-05.pt", "sha256")),
        (("--extractor", "light", "--inception-folder", tmp_path), ("not light",)),
        (("--device", "abacus"), ("abacus", "try --device cpu")),
    ):
        refused(run_app("fid", pictures / "real", pictures / "dark", *arguments), *words)


def test_existing_outputs_are_kept(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> None:
    (tmp_path / "memorise").mkdir()
    files = [tmp_path / name for name in ("fid.json", "real.npz", "data.zip", "report.html", "memorise/pairs.png")]
    for path in files:
        path.write_text("mine")
    sides, settings = (pictures / "real", pictures / "dark"), ("--extractor", network)
    for path, arguments in zip(
        files,
        (
            ("fid", *sides, "--out", files[0], *settings),
            ("fid", *sides, "--save-statistics", files[1], *settings),
            ("export", sides[0], "--size", "32", "--out", files[2]),
            ("report", files[0], "--out", files[3]),
            ("memorise", "--train", sides[0], "--fake", sides[1], "--out", tmp_path / "memorise", *settings),
        ),
        strict=True,
    ):
        refused(run_app(*arguments), f"{path} exists")
        assert path.read_text() == "mine"
    assert run_app("fid", *sides, "--out", files[0], *settings, "--overwrite").code == 0
    # --overwrite replaces files that the user named, and none beside them that eval-app did not write
    (tmp_path / "report.json").write_text('{"mine": 1}')
    refused(run_app("report", files[0], "--out", files[3], "--overwrite"), "report.json exists", "did not write it")
    memorise = ("memorise", "--train", sides[0], "--fake", sides[1], "--out", tmp_path / "memorise", *settings)
    refused(run_app(*memorise, "--overwrite"), "pairs.png exists, and no run of eval-app memorise recorded")
    assert files[4].read_text() == "mine"


def test_overwrite_keeps_what_a_user_puts_beside_results(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    out = tmp_path / "memorise"
    arguments = ("memorise", "--train", pictures / "real", "--fake", pictures / "dark", "--out", out)
    assert run_app(*arguments, "--extractor", network).code == 0
    (out / "notes.txt").write_text("mine")
    refused(run_app(*arguments, "--extractor", network), "holds a result of eval-app memorise", "--overwrite")
    assert run_app(*arguments, "--extractor", network, "--overwrite").code == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [".eval-app-memorise.json", "memorise.json", "notes.txt", "pairs.png"]


def test_one_run_at_a_time_writes_an_output(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> None:
    sides = (pictures / "real", pictures / "dark", "--extractor", network)
    with FolderLock(tmp_path / "fid.json", beside=True), FolderLock(tmp_path / "out"):
        refused(run_app("fid", *sides, "--out", tmp_path / "fid.json"), "fid.json: a run is at work here")
        arguments = ("--train", sides[0], "--fake", sides[1], "--extractor", network, "--out", tmp_path / "out")
        refused(run_app("memorise", *arguments), "out: a run is at work here")
        arguments = ("--real", sides[0], "--fake", sides[1], "--extractor", network, "--out", tmp_path / "out")
        refused(run_app("pfid", *arguments), "out: a run is at work here")
    assert not list(tmp_path.iterdir())


def test_grey_deep_and_mixed_images_are_measured_and_told(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    shutil.copytree(pictures / "other", fake)
    PIL.Image.fromarray(np.full((60, 30), 40_000, np.uint16)).save(fake / "deep.png")
    done = run_app("fid", pictures / "real", fake, "--extractor", network)
    assert done.code == 0, done.err
    for words in ("16 bits a channel", "are grey", "images of 2 sizes"):
        assert words in done.out


def test_jpeg_on_one_side_is_told(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> None:
    (tmp_path / "jpeg").mkdir()
    for path in (pictures / "real").iterdir():
        with PIL.Image.open(path) as picture:
            picture.save(tmp_path / "jpeg" / f"{path.stem}.jpg", quality=75)
    done = run_app("fid", pictures / "real", tmp_path / "jpeg", "--extractor", network)
    assert done.code == 0, done.err
    assert "100% of these are JPEG files, 0% of the real images" in " ".join(done.out.split())
    done = run_app("fid", tmp_path / "jpeg", tmp_path / "jpeg", "--extractor", network)
    assert "JPEG" not in done.out


def test_help_does_not_wait_for_heavy_imports() -> None:
    code = """
import sys
from eval_app.cli import main
sys.argv = ["eval-app", "--help"]
try:
    main()
except SystemExit:
    sys.exit(bool({"torch", "numpy", "matplotlib"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
