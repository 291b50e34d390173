from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from urcdm import Canvas, InProcessExecutor, RunSettings, Urcdm, generate, write_preview, write_slide
from urcdm.sampling.generate import open_stage
from wsi_tiling import SlideError, slide_files

SIZE_L0 = (128, 75)


@pytest.fixture(scope="module")
def drawn(make_model: Callable[..., Urcdm], tmp_path_factory: pytest.TempPathFactory) -> tuple[Urcdm, Canvas]:
    model, settings = make_model(), RunSettings(SIZE_L0, steps=1)
    canvas = Canvas(tmp_path_factory.mktemp("drawn"), settings.identity(model), model.config)
    for _ in generate(model, canvas, InProcessExecutor(model), settings, batch=32):
        pass
    return model, canvas


def test_openslide_opens_the_slide_with_its_scale_and_pixels(drawn: tuple[Urcdm, Canvas], tmp_path: Path) -> None:
    model, canvas = drawn
    path = tmp_path / "slide.tiff"
    *_, last = write_slide(model, canvas, RunSettings(SIZE_L0, steps=1), path, description="drawn by a test")
    assert last == (1, 1)
    slide = openslide.OpenSlide(path)
    assert slide.dimensions == SIZE_L0
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    assert slide.properties["openslide.comment"] == "drawn by a test"
    geometry = model.geometry(SIZE_L0)[-1]
    drawn_pixels = open_stage(canvas, geometry, 16).picture(0, 0, *SIZE_L0).astype(int)
    pixels = np.asarray(slide.read_region((0, 0), 0, SIZE_L0).convert("RGB")).astype(int)
    assert np.abs(pixels - drawn_pixels).mean() < 12  # noise of random weights is the hardest picture for JPEG


def test_the_preview_keeps_the_shape_of_the_slide(drawn: tuple[Urcdm, Canvas], tmp_path: Path) -> None:
    model, canvas = drawn
    for _ in write_slide(model, canvas, RunSettings(SIZE_L0, steps=1), tmp_path / "slide.tiff"):
        pass
    write_preview(tmp_path / "slide.tiff", tmp_path / "slide.png", longest_px=64)
    with Image.open(tmp_path / "slide.png") as preview:
        assert preview.size == (64, 38)
        assert preview.text["Description"] == "Preview of slide.tiff, a synthetic slide"
    assert slide_files([tmp_path]) == [tmp_path / "slide.tiff"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slide.png", "slide.tiff"]


def test_a_slide_that_exists_is_not_replaced_unasked(drawn: tuple[Urcdm, Canvas], tmp_path: Path) -> None:
    model, canvas = drawn
    path = tmp_path / "slide.tiff"
    path.write_text("mine")
    with pytest.raises(SlideError, match="exists"):
        list(write_slide(model, canvas, RunSettings(SIZE_L0, steps=1), path))
    assert path.read_text() == "mine"
