import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from wsi_tiling import open_slide

RunApp = Callable[..., Any]


def unpacked(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Reads it as StyleGAN3 does: every file that Pillow can read is an image, dataset.json has the labels."""
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("dataset.json"))["labels"] is None
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        assert set(archive.namelist()) == {*names, "dataset.json"}
        return {name: np.asarray(PIL.Image.open(io.BytesIO(archive.read(name)))) for name in names}


def test_pictures_become_middle_squares(run_app: RunApp, tmp_path: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "data.zip"
    folder.mkdir()
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, 16:48] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    PIL.Image.fromarray(wide).save(folder / "a.png")
    PIL.Image.fromarray(np.full((64, 64), 90, np.uint8)).save(folder / "b.png")
    done = run_app("export", folder, "--size", "32", "--out", out)
    assert done.code == 0, done.err
    found = unpacked(out)
    assert list(found) == ["00000/img00000000.png", "00000/img00000001.png"]
    first, second = found.values()
    assert (first == wide[:, 16:48]).all()
    assert second.shape == (32, 32, 3)
    assert (second == 90).all()


def test_slides_become_tiles_with_tissue(run_app: RunApp, slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.zip"
    done = run_app("export", slides, "--size", "32", "--field", "64", "--min-tissue", "0.9", "--out", out)
    assert done.code == 0, done.err
    found = unpacked(out)
    assert len(found) == 2 * 16  # 256 px of tissue in each slide, on the grid
    with open_slide(slides / "a.tiff") as slide:
        assert (found["00000/img00000000.png"] == slide.read((128, 64), 64, 32)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "48"), ("--size 48", "powers of two")),
        (("--size", "64"), ("24 of 24 images are smaller than 64 px",)),
        (("--size", "32", "--field", "64"), ("--field is for slides",)),
        (("--size", "32", "--out", "data.tar"), ("data.tar", ".zip")),
    ],
)
def test_what_cannot_be_exported(
    run_app: RunApp,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = run_app("export", pictures / "real", *arguments)
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
    for word in words:
        assert word in refused.err
    assert not list(tmp_path.iterdir())


def test_slides_without_tissue(run_app: RunApp, slides: Path, tmp_path: Path) -> None:
    glass = tmp_path / "glass.png"
    PIL.Image.fromarray(np.full((300, 300, 3), 243, np.uint8)).save(glass)
    refused = run_app("export", glass, "--size", "32", "--out", tmp_path / "data.zip")
    assert (refused.code, "no tissue found" in refused.err) == (1, True)
    assert not (tmp_path / "data.zip").exists()


def test_a_stopped_export_leaves_nothing(
    run_app: RunApp, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("PIL.Image.Image.save", stop)
    assert run_app("export", pictures / "real", "--size", "32", "--out", tmp_path / "data.zip").code == 130
    assert not list(tmp_path.iterdir())
