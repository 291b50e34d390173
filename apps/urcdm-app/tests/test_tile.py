import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from run_folder import FolderLock
from urcdm_app.tiling import tile
from wsi_tiling import TileTable, check_no_leak, derived_png

RunApp = Callable[..., Any]
PLAN = ("--mpp", "0.5", "--plan")


@pytest.fixture
def slides(picture: Path, tmp_path: Path) -> Path:
    """A folder with three slides, one of them in a folder of its own."""
    folder = tmp_path / "slides"
    (folder / "deeper").mkdir(parents=True)
    with Image.open(picture) as image:
        image.save(folder / "a.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b.png")
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "deeper" / "c.png")
    return folder


@pytest.fixture
def bad(slides: Path) -> Path:
    """The same folder with two files that are no slides."""
    (slides / "text.svs").write_text("not a slide")
    (slides / "half.png").write_bytes((slides / "a.png").read_bytes()[:500])
    return slides


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "tiles.parquet")


def test_bad_slides_are_set_aside_and_the_rest_goes_on_whatever_the_workers(
    run_app: RunApp, bad: Path, plan: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", bad / "tiles"  # the second inside the folder of slides
    for out, more in ((one, ()), (two, ("--workers", "2"))):
        tiled = run_app("tile", bad, *PLAN, plan, "--out", out, *more)
        assert tiled.code == 0, tiled.err
        assert "2 of 5 slides were set aside (2 unreadable)" in tiled.out
    pd.testing.assert_frame_equal(table(one), table(two))
    assert table(one)["slide"].unique().tolist() == ["a", "b", "c"]
    assert sorted(path.name for path in two.glob("*.png")) == ["a.png", "b.png", "c.png"]

    summary = json.loads((two / "summary.json").read_text())
    assert (summary["slides"], summary["tiled"]) == (5, 3)
    assert [level["tiles"] for level in summary["levels"]] == [
        int((table(one)["field_l0"] == field).sum()) for field in (256, 64, 16)
    ]
    with (two / "set-aside.csv").open() as file:
        rows = {row["slide"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"text", "half"}
    assert rows["text"]["trouble"] == "unreadable"
    assert "text.svs" in rows["text"]["reason"]

    with Image.open(bad / "b.png") as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(bad / "half.png")
    (bad / "text.svs").unlink()
    mended = run_app("tile", bad, *PLAN, plan, "--out", two, "--resume")
    assert mended.code == 0, mended.err
    assert "half" in set(table(two)["slide"])
    assert not (two / "set-aside.csv").exists()


def test_when_no_slide_is_left_there_is_one_line_and_nothing_is_kept(
    run_app: RunApp, bad: Path, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiles"
    failed = run_app("tile", bad / "text.svs", bad / "half.png", *PLAN, plan, "--out", out)
    assert failed.code == 1
    assert len(failed.err.strip().splitlines()) == 1
    assert "none of 2 slides could be used" in failed.err
    assert not out.exists()


def test_an_interrupted_run_goes_on(
    run_app: RunApp, slides: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiles"
    arguments = ("tile", slides, *PLAN, plan, "--out", out)
    tile_slides = tile.tile_slides

    def stopped(*arguments: Any, **more: Any) -> Any:
        yield next(tile_slides(*arguments, **more))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tile, "tile_slides", stopped)
        assert run_app(*arguments).code == 130
    done = (out / "slides" / "a.parquet").stat().st_mtime_ns
    again = run_app(*arguments)
    assert (again.code, "holds a run" in again.err, "--resume" in again.err) == (1, True, True)
    other = run_app(*arguments, "--resume", "--overlap", "0.5")
    assert (other.code, "overlap 0.0, not 0.5" in other.err) == (1, True)
    assert run_app(*arguments, "--resume").code == 0
    assert (out / "slides" / "a.parquet").stat().st_mtime_ns == done
    assert run_app("tile", slides, *PLAN, plan, "--out", tmp_path / "whole").code == 0
    pd.testing.assert_frame_equal(table(out), table(tmp_path / "whole"))

    finished = run_app(*arguments)
    assert (finished.code, "holds a run" in finished.err, "--overwrite" in finished.err) == (1, True, True)
    assert run_app(*arguments, "--overwrite", "--overlap", "0.5").code == 0
    assert len(table(out)) > len(table(tmp_path / "whole"))


def test_patients_are_not_divided(run_app: RunApp, slides: Path, plan: Path, tmp_path: Path) -> None:
    with Image.open(slides / "a.png") as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(slides / "d.png")
    patients = tmp_path / "patients.csv"
    patients.write_text("\ufeffslide,patient,age\na.png,anna,60\nb,bert,50\nc, anna ,60\nd,dora,40\nother,otto,30\n")
    out = tmp_path / "tiles"
    arguments = ("tile", slides, *PLAN, plan, "--out", out, "--patients", patients)
    split = "train=0.5,validation=0.25,test=0.25"
    tiled = run_app(*arguments, "--split", split, "--seed", "1")
    assert tiled.code == 0, tiled.err
    frame = table(out)
    assert dict(zip(frame["slide"], frame["patient"], strict=True)) == {
        "a": "anna",
        "b": "bert",
        "c": "anna",
        "d": "dora",
    }
    assert (frame.groupby("patient")["split"].nunique() == 1).all()
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert json.loads((out / "summary.json").read_text())["splits"]["train"] == {
        "patients": 1,
        "slides": 2,
        "tiles": int((frame["split"] == "train").sum()),
    }
    # Splits are not tiles: another one takes no second look at the slides.
    looked = (out / "slides" / "a.parquet").stat().st_mtime_ns
    assert run_app(*arguments, "--resume").code == 0
    assert set(table(out)["split"]) == {"train"}
    assert (out / "slides" / "a.parquet").stat().st_mtime_ns == looked

    patients.write_text("slide,patient\na,anna\n")
    missing = run_app(*arguments, "--resume")
    assert (missing.code, "no patient for slide 'b', one of 3 without" in missing.err) == (1, True)


def test_the_whole_slide_can_be_covered_or_cropped_and_tiles_shifted(
    run_app: RunApp, picture: Path, plan: Path, tmp_path: Path
) -> None:
    counts = {}
    for name, more in (("plain", ()), ("cover", ("--fields", "cover", "--shifts")), ("crop", ("--fields", "crop"))):
        tiled = run_app("tile", picture, *PLAN, plan, "--out", tmp_path / name, *more)
        assert tiled.code == 0, tiled.err
        counts[name] = table(tmp_path / name).groupby("field_l0").size()
    # 400 x 300 px in fields of 256 px
    assert (counts["plain"][256], counts["cover"][256], counts["crop"][256]) == (1, 4, 1)
    assert counts["cover"][64] > 2 * counts["plain"][64]
    assert counts["crop"][64] == counts["plain"][64]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--split", "train=0.8"), ("--split train=0.8", "add up to 1")),
        (("--split", "train=1.2.3"), ("--split", "names and shares")),
        (("--split", "train=0.5,test=0.5"), ("a patient for each of 2 splits, got 1",)),
        (("--patients", "none.csv"), ("none.csv", "no such file")),
        (("--patients", "wrong.csv"), ("wrong.csv", "the columns slide and patient")),
        (("--patients", "two.csv"), ("'disc' has two patients, a and b",)),
        (("--patients", "binary.csv"), ("binary.csv", "CSV")),
        (("--ray", "auto"), ("Ray is not installed", "wsi-tiling[ray]")),
    ],
)
def test_options_that_cannot_be_followed(
    run_app: RunApp,
    picture: Path,
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    Path("wrong.csv").write_text("name,patient\n")
    Path("two.csv").write_text("slide,patient\ndisc,a\ndisc.png,b\n")
    Path("binary.csv").write_bytes(b"\xff\xfe\x00")
    failed = run_app("tile", picture, *PLAN, plan, "--out", "tiles", *option)
    assert failed.code == 1
    assert len(failed.err.strip().splitlines()) == 1, failed.err
    assert all(word in failed.err for word in words), failed.err
    assert not Path("tiles").exists()


def test_two_slides_of_one_name_and_folders_without_slides(
    run_app: RunApp, slides: Path, plan: Path, tmp_path: Path
) -> None:
    shutil.copy(slides / "a.png", slides / "deeper" / "a.png")
    same = run_app("tile", slides, *PLAN, plan, "--out", tmp_path / "tiles")
    assert (same.code, "same name" in same.err, "deeper/a.png" in same.err) == (1, True, True)
    (tmp_path / "empty").mkdir()
    empty = run_app("tile", tmp_path / "empty", *PLAN, plan, "--out", tmp_path / "tiles")
    assert (empty.code, "no slides in this folder" in empty.err) == (1, True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def glass(tmp_path: Path) -> Path:
    """A slide without tissue."""
    path = tmp_path / "glass.png"
    Image.new("RGB", (300, 300), (243, 243, 243)).save(path)
    return path


def test_no_file_of_the_user_is_removed_or_replaced(
    run_app: RunApp, slides: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slides / "clinical.csv").write_text("kept by hand")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)  # the project, whose slides lie in slides/
    for more in ((), ("--overwrite",), ("--resume",)):
        for out in (".", "slides"):
            failed = run_app("tile", "slides/a.png", "slides/b.png", *PLAN, plan, "--out", out, *more)
            assert failed.code == 1
            assert len(failed.err.strip().splitlines()) == 1, failed.err
            assert "give another folder for the results (--out)" in failed.err
            assert contents(tmp_path) == before


def test_resume_keeps_what_is_saved(run_app: RunApp, slides: Path, glass: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    assert run_app("tile", slides / "a.png", *PLAN, plan, "--out", out).code == 0
    before = contents(out)
    for added in (glass, slides / "b.png"):
        failed = run_app("tile", added, *PLAN, plan, "--out", out, "--resume")
        assert (failed.code, "a.png, already tiled in" in failed.err) == (1, True), failed.err
        assert contents(out) == before
    added = run_app("tile", slides / "a.png", slides / "b.png", glass, *PLAN, plan, "--out", out, "--resume")
    assert added.code == 0, added.err
    assert set(table(out)["slide"]) == {"a", "b", "glass"}
    assert json.loads((out / "summary.json").read_text())["tiled"] == 3
    dropped = run_app("tile", slides / "b.png", *PLAN, plan, "--out", out, "--overwrite")
    assert dropped.code == 0, dropped.err
    assert sorted(path.name for path in out.rglob("*.p*")) == ["b.parquet", "b.png", "tiles.parquet"]


def test_a_folder_takes_one_run_at_a_time(run_app: RunApp, slides: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    with FolderLock(out):
        refused = run_app("tile", slides / "b.png", *PLAN, plan, "--out", out)
        assert (refused.code, f"process {os.getpid()}" in refused.err) == (1, True)
    assert not out.exists()


def test_one_slide_under_two_names_is_in_one_split(run_app: RunApp, slides: Path, plan: Path, tmp_path: Path) -> None:
    shutil.copy(slides / "a.png", slides / "copy.png")
    tiled = run_app("tile", slides, *PLAN, plan, "--out", tmp_path / "tiles")
    assert tiled.code == 0, tiled.err
    assert "copy.png is the same slide as" in tiled.out
    assert "1 of 4 slides were set aside (1 twice)" in tiled.out
    check_no_leak(TileTable.load(tmp_path / "tiles" / "tiles.parquet"))
    assert set(table(tmp_path / "tiles")["slide"]) == {"a", "b", "c"}


def test_what_is_passed_over_is_printed_and_slides_inside_the_results_are_taken(
    run_app: RunApp, slides: Path, plan: Path, tmp_path: Path
) -> None:
    strange = slides / os.fsdecode(b"line\nend-\xe9.png")
    strange.write_bytes((slides / "a.png").read_bytes())
    (slides / "notes.txt").write_text("")
    (slides / "preview.png").write_bytes(derived_png(np.zeros((8, 8, 3), np.uint8)))
    (slides / "linked").symlink_to(tmp_path / "disk")
    tiled = run_app("tile", slides, *PLAN, plan, "--out", tmp_path)
    assert (tiled.code, "slides exists" in tiled.err) == (1, True)
    renamed = slides.rename(tmp_path / "data")
    tiled = run_app("tile", renamed, *PLAN, plan, "--out", tmp_path)  # --out lies around the slides
    assert tiled.code == 0, tiled.err
    for line in (
        "passed over 1 file that is not a slide",
        "passed over 1 image made of",
        "passed over 1 link to nothing",
    ):
        assert line in tiled.out
    assert r"line end-\xe9.png: its path is not valid UTF-8; rename it" in tiled.out
    with (tmp_path / "set-aside.csv").open() as file:
        assert [row["trouble"] for row in csv.DictReader(file)] == ["not saved"]
    assert set(table(tmp_path)["slide"]) == {"a", "b", "c"}
