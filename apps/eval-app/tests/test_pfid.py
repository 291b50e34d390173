import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pfid import CropPlan, folder_images
from pfid.crops.plan import Side
from pfid.crops.reading import read_crops

RunApp = Callable[..., Any]
FILES = [
    ".eval-app-pfid.json",
    "fake.npy",
    "features.json",
    "pairs.png",
    "pfid.json",
    "plan.npz",
    "real.npy",
    "white.npy",
]


@pytest.fixture
def measure(run_app: RunApp, network: Path) -> RunApp:
    """Runs `pfid` with 60 crops of 32 px, read in this process."""

    def run(
        real: Path, fake: Path, *more: str | Path, crops: tuple[str, ...] = ("--crops", "60", "--patch", "32")
    ) -> Any:
        sides = ("--real", real, "--fake", fake, "--extractor", network)
        return run_app("pfid", *sides, "--workers", "0", "--resamples", "5", *crops, *more)

    return run


def value(out: Path) -> float:
    found: float = json.loads((out / "pfid.json").read_text())["figures"][0]["value"]
    return found


def test_slides_are_measured_by_crops(measure: RunApp, slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "pfid"
    done = measure(slides / "a.tiff", slides / "b.tiff", "--out", out, "--name", "mine")
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == FILES
    document = json.loads((out / "pfid.json").read_text())
    figure, limit = document["figures"]
    assert document["name"] == "mine"
    assert figure["interval"][0] <= figure["value"] <= figure["interval"][1]
    assert "wsi_tiling.open_slide" in figure["resize"]
    assert "extrapolated" in limit["name"]
    assert len(document["by_scale"]) == 4
    assert figure["plan_sha256"] == CropPlan.load(out / "plan.npz").sha256


def test_a_figure_is_worked_out_again_from_its_plan(measure: RunApp, slides: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    sides = slides / "a.tiff", slides / "b.tiff"
    assert measure(*sides, "--out", first, "--seed", "3").code == 0
    assert measure(*sides, "--out", again, "--plan", first / "plan.npz", crops=()).code == 0
    assert measure(*sides, "--out", other, "--seed", "4").code == 0
    assert value(again) == value(first) != value(other)
    refused = measure(*sides, "--out", tmp_path / "both", "--plan", first / "plan.npz")
    assert (refused.code, "--plan has the crops" in refused.err) == (1, True)
    refused = measure(sides[1], sides[0], "--out", tmp_path / "swapped", "--plan", first / "plan.npz", crops=())
    assert (refused.code, "not those of the plan" in refused.err) == (1, True)
    assert not (tmp_path / "swapped").exists()


def test_pictures_are_read_by_lanczos_and_beside_a_slide_as_slides(
    measure: RunApp, pictures: Path, slides: Path, tmp_path: Path
) -> None:
    for fake, reading in ((pictures / "dark", "Lanczos"), (slides, "wsi_tiling.open_slide")):
        out = tmp_path / fake.name
        done = measure(pictures / "real", fake, "--out", out)
        assert done.code == 0, done.err
        figure = json.loads((out / "pfid.json").read_text())["figures"][0]
        assert figure["resize"].startswith(f"crops by {reading};")


def test_several_folders_and_slides_make_one_side(
    run_app: RunApp, pictures: Path, slides: Path, tmp_path: Path
) -> None:
    from eval_app.measuring.sides import crop_sides

    real, fake = crop_sides([pictures / "real", pictures / "other"], [pictures / "dark"], skip_unreadable=False)
    assert (len(real), len(fake)) == (48, 24)
    real, fake = crop_sides([slides / "a.tiff", slides / "b.tiff"], [pictures / "dark"], skip_unreadable=False)
    assert real.names == ("a.tiff", "b.tiff")
    assert fake.reading == real.reading


def test_an_interrupted_run_goes_on_and_gives_the_same_figure(
    measure: RunApp, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides, out = (pictures / "real", pictures / "dark"), tmp_path / "stopped"
    assert measure(*sides, "--out", tmp_path / "whole").code == 0
    with monkeypatch.context() as patch:
        patch.setattr("eval_app.measuring.patch_fid.crop_pairs_picture", interrupt)
        stopped = measure(*sides, "--out", out)
    assert stopped.code == 130
    assert "--resume" in stopped.err
    assert not (out / "pfid.json").exists()
    again = measure(*sides, "--out", out)
    assert (again.code, "--resume" in again.err, "--overwrite" in again.err) == (1, True, True)
    other = measure(*sides, "--out", out, "--resume", "--seed", "1")
    assert (other.code, "other images or crops" in other.err) == (1, True)
    features = (out / "real.npy").stat().st_mtime_ns
    done = measure(*sides, "--out", out, "--resume")
    assert done.code == 0, done.err
    assert (out / "real.npy").stat().st_mtime_ns == features  # measured once
    assert value(out) == value(tmp_path / "whole")
    finished = measure(*sides, "--out", out)
    assert (finished.code, "--overwrite" in finished.err) == (1, True)
    assert measure(*sides, "--out", out, "--overwrite", "--seed", "1").code == 0
    assert value(out) != value(tmp_path / "whole")


@pytest.mark.parametrize("interrupted", [True, False])
@pytest.mark.parametrize("side", ["real", "fake"])
def test_a_run_does_not_go_on_with_images_that_were_made_anew(
    measure: RunApp,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupted: bool,
    side: str,
) -> None:
    sides = {"real": tmp_path / "real", "fake": tmp_path / "fake"}
    for name, folder in sides.items():
        shutil.copytree(pictures / ("real" if name == "real" else "dark"), folder)
    out = tmp_path / "pfid"
    with monkeypatch.context() as patch:
        if interrupted:  # after the real side
            patch.setattr("pfid.crops.features.read_crops", stop_at_fake)
        measure(*sides.values(), "--out", out)
    assert measure(*sides.values(), "--out", out, "--resume").code == 0 or interrupted
    changed = sides[side] / sorted(path.name for path in sides[side].iterdir())[3]
    # the same size and time of change, as an image that was made anew may have
    status = changed.stat()
    PIL.Image.fromarray(np.asarray(PIL.Image.open(changed)) ^ 1).save(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    refused = measure(*sides.values(), "--out", out, "--resume")
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
    assert f"other {side} images: {changed.name} had other contents" in refused.err
    assert measure(*sides.values(), "--out", out, "--overwrite").code == 0


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def stop_at_fake(images: Any, plan: CropPlan, side: Side, **settings: Any) -> Any:
    if side == "fake":
        raise KeyboardInterrupt
    return read_crops(images, plan, side, **settings)


def test_overwrite_keeps_what_a_user_puts_beside_results(measure: RunApp, pictures: Path, tmp_path: Path) -> None:
    sides, out = (pictures / "real", pictures / "dark"), tmp_path / "pfid"
    assert measure(*sides, "--out", out).code == 0
    (out / "notes.txt").write_text("mine")
    assert measure(*sides, "--out", out, "--overwrite").code == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "notes.txt"])


def test_the_picture_shows_the_crops_of_the_plan(measure: RunApp, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "pfid"
    crops = ("--crops", "20", "--patch", "48", "--protocol", "paired")  # each crop is a whole picture
    assert measure(pictures / "real", pictures / "dark", "--out", out, crops=crops).code == 0
    with PIL.Image.open(out / "pairs.png") as picture:
        sheet = np.asarray(picture.convert("RGB"))
    known = {}
    for side in ("real", "dark"):
        images = folder_images(pictures / side)
        known[side] = {images.pixels(number).tobytes() for number in range(len(images))}
    for top, side in ((8, "real"), (64, "dark")):
        assert sheet[top : top + 48, 8:56].tobytes() in known[side]


def test_white_crops_are_left_out_only_when_asked(measure: RunApp, slides: Path, tmp_path: Path) -> None:
    sides = slides / "a.tiff", slides / "b.tiff"
    for more, name in (((), "all"), (("--without-white",), "tissue")):
        assert measure(*sides, "--out", tmp_path / name, *more, crops=("--crops", "90", "--patch", "64")).code == 0
    every, tissue = (
        json.loads((tmp_path / name / "pfid.json").read_text())["figures"][0] for name in ("all", "tissue")
    )
    assert every["n_real"] == 90
    assert tissue["n_real"] < 90
    assert "left out as white" in tissue["note"]


def test_unreadable_slides_are_counted(measure: RunApp, slides: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    shutil.copytree(slides, folder)
    (folder / "c.tiff").write_bytes((folder / "a.tiff").read_bytes()[:500])
    refused = measure(slides / "a.tiff", folder, "--out", tmp_path / "pfid")
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
    assert "1 of 3 images cannot be read" in refused.err
    assert "c.tiff" in refused.err
    assert not (tmp_path / "pfid").exists()
    done = measure(slides / "a.tiff", folder, "--out", tmp_path / "pfid", "--skip-unreadable")
    assert done.code == 0, done.err
    assert "left out as unreadable" in done.out


def test_files_of_others_are_kept(measure: RunApp, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.png").write_text("mine")
    for more in ((), ("--resume",)):
        refused = measure(pictures / "real", pictures / "dark", "--out", tmp_path, *more)
        assert (refused.code, "pairs.png exists" in refused.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.png"]


def test_copies_of_one_slide_are_refused_on_a_side_and_noted_across_sides(
    measure: RunApp, slides: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "slides"
    shutil.copytree(slides, folder)
    done = measure(slides / "a.tiff", folder, "--out", tmp_path / "across")
    assert done.code == 0, done.err
    assert "1 images are on both sides" in done.out
    shutil.copy(folder / "a.tiff", folder / "copy.tiff")
    refused = measure(slides / "a.tiff", folder, "--out", tmp_path / "twice")
    assert (refused.code, "copy.tiff is the same slide as" in refused.err) == (1, True)
    assert not (tmp_path / "twice").exists()
