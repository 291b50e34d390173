from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from urcdm import LocalPatchExecutor, RunSettings, SlideRun, Urcdm, WriteEvent, write_preview
from wsi_tiling import SlideError, slide_files

SIZE_L0 = (128, 75)


@pytest.fixture(scope="module")
def drawn(make_model: Callable[..., Urcdm], tmp_path_factory: pytest.TempPathFactory) -> SlideRun:
    run = SlideRun.open(tmp_path_factory.mktemp("drawn"), make_model(), RunSettings(SIZE_L0, steps=1))
    for _ in run.sample(LocalPatchExecutor(run.model), batch=32):
        pass
    return run


def test_openslide_opens_the_slide_with_its_scale_and_pixels(drawn: SlideRun, tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    *_, last = drawn.write(path, description="drawn by a test")
    assert last == WriteEvent(1, 1)
    slide = openslide.OpenSlide(path)
    assert slide.dimensions == SIZE_L0
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    assert slide.properties["openslide.comment"] == "drawn by a test"
    drawn_pixels = drawn.levels()[-1].picture.picture(0, 0, *SIZE_L0).astype(int)
    pixels = np.asarray(slide.read_region((0, 0), 0, SIZE_L0).convert("RGB")).astype(int)
    assert np.abs(pixels - drawn_pixels).mean() < 12  # noise of random weights is the hardest picture for JPEG


def test_the_preview_keeps_the_shape_of_the_slide(drawn: SlideRun, tmp_path: Path) -> None:
    for _ in drawn.write(tmp_path / "slide.tiff"):
        pass
    write_preview(tmp_path / "slide.tiff", tmp_path / "slide.png", longest_px=64)
    with Image.open(tmp_path / "slide.png") as preview:
        assert preview.size == (64, 38)
        assert preview.text["Description"] == "Preview of slide.tiff, a synthetic slide"
    assert slide_files([tmp_path]) == [tmp_path / "slide.tiff"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slide.png", "slide.tiff"]


def test_a_slide_that_exists_is_not_replaced_unasked(drawn: SlideRun, tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    path.write_text("mine")
    with pytest.raises(SlideError, match="exists"):
        list(drawn.write(path))
    assert path.read_text() == "mine"
