import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from run_folder import LockedError
from urcdm import Canvas, CanvasError, Level, UrcdmConfig, remove_canvas
from urcdm.canvas.canvas import StageCanvas
from wsi_tiling import Grid, TissueRule

CONFIG = UrcdmConfig(
    (Level("low", 256, 16), Level("high", 16, 16)), mpp=0.5, fill=(1, 2, 3), tissue=TissueRule.everything()
)
IDENTITY = {"model": "abc", "seed": 1}
GRID = Grid((40, 28), 16, 0.25, 4)


def stage(path: Path, image_px: int = 16) -> StageCanvas:
    return Canvas(path, IDENTITY, CONFIG).stage(f"high-{image_px}", GRID, image_px)


def fill(canvas: StageCanvas, value: Any = 100) -> None:
    for position in GRID:
        canvas.write(position, np.full((canvas.image_px, canvas.image_px, 3), value, np.uint8))


def test_a_canvas_opened_again_knows_what_is_done(tmp_path: Path) -> None:
    canvas = stage(tmp_path)
    canvas.write((0, 1), np.zeros((16, 16, 3), np.uint8))  # black, as an array is where nothing was
    canvas.write((1, 0), np.full((16, 16, 3), 7, np.uint8))
    again = stage(tmp_path)
    assert again.done == {(0, 1), (1, 0)}
    assert (again.picture(0, 20, 4, 4) == 7).all()


@pytest.mark.parametrize("image_px", [16, 8])
def test_where_patches_overlap_they_blend_linearly(tmp_path: Path, image_px: int) -> None:
    canvas = stage(tmp_path, image_px)
    fill(canvas)
    assert (canvas.picture(0, 0, *canvas.size_px) == 100).all()
    canvas.write((0, 0), np.full((image_px, image_px, 3), 180, np.uint8))
    row = stage(tmp_path, image_px).picture(0, 0, *canvas.size_px)[0, :, 0]
    overlap = image_px // 4
    ramp = 180 - 80 * (np.arange(overlap) + 0.5) / overlap
    assert (row[: image_px - overlap] == 180).all()
    assert (row[image_px - overlap : image_px] == np.rint(ramp)).all()
    assert (row[image_px:] == 100).all()


def test_windows_are_parts_of_one_picture_however_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urcdm.canvas.canvas.BLOCK_PX", 7)
    canvas, rng = stage(tmp_path), np.random.default_rng(0)
    positions = list(GRID)
    for position in positions[:-1]:
        canvas.write(position, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    before = canvas.picture(0, 0, *canvas.size_px)
    canvas.write(positions[-1], rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    whole = canvas.mosaic.blend((0, 0, *canvas.size_px), set(positions), canvas.store.load, np.uint8)
    for x, y, width, height in ((0, 0, *canvas.size_px), (3, 5, 20, 11), (13, 0, 1, 28), (33, 21, 7, 7)):
        window = canvas.picture(x, y, width, height)
        np.testing.assert_array_equal(window, whole[y : y + height, x : x + width])
    assert (before != whole).any()


def test_a_box_is_filled_outside_the_canvas_and_exact_inside(tmp_path: Path) -> None:
    canvas = stage(tmp_path)
    fill(canvas)
    box = canvas.read((-8, 0, 8, 16), 16)
    assert (box[:, :8] == CONFIG.fill).all()
    assert (box[:, 8:] == 100).all()


def test_the_hold_falls_from_the_edge_to_the_end_of_the_overlap(tmp_path: Path) -> None:
    canvas = stage(tmp_path)
    canvas.write((0, 0), np.full((16, 16, 3), 50, np.uint8))
    pixels, hold = canvas.held((0, 1), [(0, 0)])
    assert (np.diff(hold[0, :4]) < 0).all()
    assert hold[0, 0] > 0.85
    assert (hold[:, 4:] == 0).all()
    assert (pixels[:, :4] == 50).all()
    assert canvas.held((0, 1), [])[1].max() == 0


@pytest.mark.parametrize(("name", "value"), [("seed", 2), ("model", "abd"), ("steps", 8)])
def test_another_run_is_refused_and_the_difference_named(tmp_path: Path, name: str, value: int | str) -> None:
    Canvas(tmp_path, IDENTITY, CONFIG)
    with pytest.raises(CanvasError, match=f"{name} = .*, not {value}"):
        Canvas(tmp_path, {**IDENTITY, name: value}, CONFIG)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CanvasError, match="cannot be opened as a canvas"):
        Canvas(tmp_path, IDENTITY, CONFIG)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_patch_is_named(tmp_path: Path, damage: str) -> None:
    canvas = stage(tmp_path)
    canvas.write((1, 1), np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    chunk = tmp_path / "high-16" / "c.1.1.0.0.0"
    data = bytearray(chunk.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    with pytest.raises(CanvasError, match=r"c\.1\.1\.0\.0\.0: this patch is damaged"):
        stage(tmp_path).picture(0, 0, 40, 28)


def test_a_full_disk_is_said_and_what_was_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = stage(tmp_path)
    canvas.write((0, 0), np.full((16, 16, 3), 9, np.uint8))

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage._local._put", no_space)
        with pytest.raises(CanvasError, match="the disk is full"):
            canvas.write((0, 1), np.zeros((16, 16, 3), np.uint8))
    assert stage(tmp_path).done == {(0, 0)}


PATCH = np.full((16, 16, 3), 9, np.uint8)


def test_a_run_notices_that_another_has_replaced_its_canvas(tmp_path: Path) -> None:
    first = stage(tmp_path / "canvas")
    first.write((0, 0), PATCH)
    remove_canvas(tmp_path / "canvas")
    for _ in range(2):
        with pytest.raises(CanvasError, match="another run has replaced the canvas"):
            first.write((0, 1), PATCH)
        second = Canvas(tmp_path / "canvas", {**IDENTITY, "seed": 2}, CONFIG).stage("high-16", GRID, 16)
        assert second.done == set()
    second.write((1, 0), PATCH)
    first.store.done.add((1, 0))
    with pytest.raises(CanvasError, match="another run has replaced the canvas"):
        first.store.load((1, 0))


def test_patches_of_another_run_are_never_taken(tmp_path: Path) -> None:
    for seed in (1, 2):
        Canvas(tmp_path / str(seed), {**IDENTITY, "seed": seed}, CONFIG).stage("high-16", GRID, 16).write((0, 0), PATCH)
    shutil.copytree(tmp_path / "2" / "high-16", tmp_path / "1" / "high-16", dirs_exist_ok=True)
    with pytest.raises(CanvasError, match="high-16: these patches are of another run"):
        stage(tmp_path / "1")


def test_one_run_draws_on_a_canvas_at_a_time(tmp_path: Path) -> None:
    canvas = Canvas(tmp_path, IDENTITY, CONFIG)
    with canvas.lock():
        with pytest.raises(LockedError), canvas.lock():
            pass
        with pytest.raises(CanvasError, match="a run is at work here"):
            remove_canvas(tmp_path)


def test_a_canvas_is_removed_and_nothing_else(tmp_path: Path) -> None:
    canvas, mine = tmp_path / "canvas", tmp_path / "mine"
    remove_canvas(canvas)  # there is none
    stage(canvas).write((0, 0), PATCH)
    (canvas / "record.json").write_text("{}")
    (canvas / "high-16" / "c.0.1.0.0.0.0123abcd.partial").touch()  # as a kill leaves it
    with pytest.raises(CanvasError, match=r"record\.json is not part of a canvas"):
        remove_canvas(canvas)
    remove_canvas(canvas, also=["record.json"])
    assert not canvas.exists()
    (mine / "sub").mkdir(parents=True)
    (mine / "sub" / "painting.psd").touch()
    with pytest.raises(CanvasError, match="is not part of a canvas"):
        remove_canvas(mine)
    (canvas.parent / "file.canvas").touch()
    with pytest.raises(CanvasError, match="is not a canvas"):
        remove_canvas(canvas.parent / "file.canvas")
    stage(canvas).write((0, 0), PATCH)
    (canvas / "high-16" / "notes.txt").touch()
    with pytest.raises(CanvasError, match=r"notes\.txt is not part of a canvas"):
        remove_canvas(canvas)
    assert stage(canvas).done == {(0, 0)}
