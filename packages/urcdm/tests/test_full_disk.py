"""What a full disk and damaged files do to a run, in order and jointly: told in one line, and nothing is lost."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from urcdm import CanvasError, LocalPatchExecutor, RunSettings, SlideRun, Urcdm

pytestmark = pytest.mark.once

SIZE_L0 = (48, 32)
MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model()


@pytest.fixture(scope="module", params=[False, True], ids=["in order", "joint"])
def settings(request: pytest.FixtureRequest) -> RunSettings:
    return RunSettings(SIZE_L0, joint=request.param)


@pytest.fixture(scope="module")
def wanted(model: Urcdm, settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """The slide that all others must equal."""
    return draw(model, tmp_path_factory.mktemp("whole"), settings)


def draw(model: Urcdm, folder: Path, settings: RunSettings, events: int | None = None) -> NDArray[np.uint8]:
    """Draws a slide one patch at a time; leaves it after so many events."""
    run = SlideRun.open(folder, model, settings, resume=True)
    for number, _ in enumerate(run.sample(LocalPatchExecutor(model), batch=1)):
        if number == events:
            break
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px)


def files(folder: Path) -> set[Path]:
    """The finished patches, without those that joint sampling keeps for a step only."""
    return {path for path in folder.glob("*/c.*") if "-step-" not in path.parent.name}


@pytest.mark.parametrize("writes", [0, 11, 25])
def test_a_disk_that_fills_up_is_told_and_loses_nothing(
    model: Urcdm,
    settings: RunSettings,
    wanted: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    import zarr.storage._local as local

    put, left = local._put, writes

    def fills_up(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        return put(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_put", fills_up)
        with pytest.raises(CanvasError, match="the disk is full; free some space and run again"):
            draw(model, tmp_path / "full", settings)
    before = files(tmp_path / "full")
    assert (draw(model, tmp_path / "full", settings) == wanted).all()
    assert files(tmp_path / "full") > before


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def changed(data: bytes) -> bytes:
    return data[:-9] + b"?" + data[-8:]


@pytest.mark.parametrize(("events", "damage"), [(13, halved), (21, changed), (30, changed)])
def test_a_damaged_patch_is_named_and_drawn_again_once_it_is_deleted(
    model: Urcdm,
    settings: RunSettings,
    wanted: NDArray[np.uint8],
    tmp_path: Path,
    events: int,
    damage: Callable[[bytes], bytes],
) -> None:
    """Each file in its turn: some are of finished patches, some of a step of joint sampling."""
    run = tmp_path / "run"
    draw(model, run, settings, events)
    for path in sorted(run.glob("*/c.*"))[::5]:
        if not path.exists():  # a run that went on has dropped it
            continue
        path.write_bytes(damage(path.read_bytes()))
        try:
            draw(model, run, settings, 3)
        except CanvasError as error:
            assert f"{path}: this patch is damaged" in str(error)  # noqa: PT017 - where it is needed at all
        path.unlink(missing_ok=True)
    assert (draw(model, run, settings) == wanted).all()


def test_a_begin_that_was_killed_is_no_canvas_of_another(model: Urcdm, tmp_path: Path) -> None:
    """zarr writes under a temporary name first; a folder with nothing else is as good as empty."""
    folder = tmp_path / "canvas"
    folder.mkdir()
    (folder / "zarr.0123456789abcdef.partial").write_bytes(b"{")
    settings = RunSettings(SIZE_L0)
    for _ in range(2):
        SlideRun.open(folder, model, settings, resume=True)


@pytest.mark.parametrize("name", ["zarr.json", "high-16/zarr.json"])
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"zarr_format": 3, "node_typE": "group"}'])
def test_damaged_notes_of_the_canvas_are_told(model: Urcdm, tmp_path: Path, name: str, damage: bytes) -> None:
    settings = RunSettings(SIZE_L0)
    draw(model, tmp_path, settings, events=3)
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(CanvasError, match="cannot be opened"):
        draw(model, tmp_path, settings)
