"""A slide's file is closed when the slide is, not when the garbage collector comes by."""

import gc
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi_tiling import ArraySlide, Image, PyramidWriter, SlideError, open_slide
from wsi_tiling.reading.formats.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.tiff.slide import TiffSlide

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
OPTIONS = {"photometric": "rgb", "metadata": None}


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def is_open(path: Path) -> bool:
    return any(os.path.realpath(link) == str(path.resolve()) for link in Path("/proc/self/fd").iterdir())


def write(path: Path, picture: Image, kind: str) -> type:
    if kind == "strips":
        tifffile.imwrite(path, picture, **OPTIONS)
        return ArraySlide
    with PyramidWriter(path, (700, 500), mpp=0.5, quality=None if kind == "openslide" else 90, objective=20) as writer:
        writer.write((0, 0), picture)
    return OpenSlideSlide if kind == "openslide" else TiffSlide


@pytest.mark.parametrize("kind", ["tiff", "openslide", "strips"])
def test_a_closed_slide_has_closed_its_file(tmp_path: Path, picture: Image, kind: str) -> None:
    path = tmp_path / "slide.tif"
    expected = write(path, picture, kind)
    with open_slide(path) as slide:
        assert type(slide) is expected
        slide.read((0, 0), 64, 64)
        assert is_open(path) == (kind == "tiff")  # OpenSlide opens it for each read
    assert not is_open(path)
    if kind != "strips":
        with pytest.raises(SlideError, match="is closed"):
            slide.read((0, 0), 64, 64)
    assert not is_open(path)


def test_a_file_that_is_refused_is_closed(tmp_path: Path, picture: Image) -> None:
    """Though the error, whose frames name all that was opened, is at hand."""
    paths = [tmp_path / name for name in ("deep.tif", "cut.tif", "stack.tif", "ink.svs")]
    tifffile.imwrite(paths[0], np.zeros((64, 64), np.uint16))
    tifffile.imwrite(paths[1], picture, tile=(64, 64), **OPTIONS)
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    tifffile.imwrite(paths[2], np.stack([picture[..., 0]] * 3), photometric="minisblack", tile=(64, 64))
    with PyramidWriter(paths[3], (700, 500), mpp=0.5, objective=20) as writer:
        writer.write((0, 0), picture)
    paths[3].write_bytes(paths[3].read_bytes()[:-500])
    errors = []
    for path in paths:
        with pytest.raises(SlideError) as caught:
            open_slide(path)
        errors.append(caught.value)
        assert not is_open(path)
    assert len(errors) == 4


@pytest.mark.parametrize("kind", ["tiff", "openslide"])
def test_many_threads_that_open_and_read_at_once_leave_nothing_open(tmp_path: Path, picture: Image, kind: str) -> None:
    path = tmp_path / "slide.tif"
    write(path, picture, kind)
    expected = open_slide(path).read((0, 0), 64, 64)
    for _ in range(5):
        slide, together = open_slide(path), threading.Barrier(8)
        slide._opened.clear()  # as after a fork or unpickling: whoever reads first opens the file

        def read(_: int, slide=slide, together=together) -> Image:
            together.wait()
            return slide.read((0, 0), 64, 64)

        with ThreadPoolExecutor(8) as threads:
            for image in threads.map(read, range(8)):
                np.testing.assert_array_equal(image, expected)
        slide.close()
        assert not is_open(path)


def test_reads_under_way_end_well_when_the_slide_is_closed(
    tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.tif"
    write(path, picture, "tiff")
    reading, closed = threading.Event(), threading.Event()
    slide = open_slide(path)
    assert isinstance(slide, TiffSlide)
    decode = TiffSlide._segment

    def slow(self: TiffSlide, *arguments) -> Image:
        reading.set()
        closed.wait(10)
        return decode(self, *arguments)

    monkeypatch.setattr(TiffSlide, "_segment", slow)
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(slide.read, (0, 0), 400, 400)
        assert reading.wait(10)
        slide.close()
        assert is_open(path)
        closed.set()
        assert read.result().shape == (400, 400, 3)
    assert not is_open(path)
