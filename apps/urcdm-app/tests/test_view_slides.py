from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from urcdm_app.view.description import read_description, read_objective_power
from urcdm_app.view.shown import open_to_show
from wsi_tiling import PyramidWriter


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def write_slide(path: Path, description: str, objective: float | None = None) -> None:
    with PyramidWriter(path, (64, 48), mpp=0.5, objective=objective, description=description) as writer:
        writer.write((0, 0), noise(64, 48))


def test_descriptions_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    picture, words = Image.fromarray(noise(20, 10)), PngInfo()
    write_slide(tmp_path / "plain.tiff", "Drawn by a model.\nSeed 7.")
    write_slide(tmp_path / "aperio.svs", "Drawn by a model.", objective=20)
    words.add_text("Description", "Drawn  by a model.")
    picture.save(tmp_path / "picture.png", pnginfo=words)
    picture.save(tmp_path / "picture.jpg", comment=b"Drawn by a model.")
    assert read_description(tmp_path / "plain.tiff") == "Drawn by a model.\nSeed 7."
    for name in ("aperio.svs", "picture.png", "picture.jpg"):
        assert read_description(tmp_path / name) == "Drawn by a model."


def test_descriptions_for_programs_are_not_shown(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(20, 10))
    for text in ('{"shape": [10, 20, 3]}', "<?xml version='1.0'?><OME/>"):
        picture.save(tmp_path / "picture.tiff", description=text)
        assert read_description(tmp_path / "picture.tiff") == ""
    picture.save(tmp_path / "picture.png")
    assert read_description(tmp_path / "picture.png") == ""


def test_magnification_is_the_files_else_that_of_the_pixels_size(tmp_path: Path) -> None:
    write_slide(tmp_path / "stated.svs", "", objective=40)
    write_slide(tmp_path / "sized.tiff", "")
    Image.fromarray(noise(20, 10)).save(tmp_path / "unknown.png")
    assert read_objective_power(tmp_path / "stated.svs") == 40
    found = [open_to_show(tmp_path / name, 0).magnification for name in ("stated.svs", "sized.tiff", "unknown.png")]
    assert found == [40, pytest.approx(20), None]


def test_a_changed_file_has_another_key(tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    write_slide(path, "one")
    first = open_to_show(path, 0).key
    assert open_to_show(path, 0).key == first
    assert open_to_show(path, 1).key != first
    path.unlink()
    write_slide(path, "another")
    assert open_to_show(path, 0).key != first
