import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi_tiling import Image, PyramidWriter, Slide, SlideError
from wsi_tiling.reading.formats.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.tiff.slide import TiffSlide

pytestmark = pytest.mark.once

OPENERS: dict[str, tuple[Callable[[Path], Slide], float | None]] = {
    "openslide": (lambda path: OpenSlideSlide(path, mpp=None, background=None, cache_mib=1), 20.0),
    "tiff": (lambda path: TiffSlide(path, mpp=None, background=None, cache_mib=1), None),
}


@pytest.fixture(params=list(OPENERS))
def opener(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, picture: Image, opener: str) -> Path:
    """An exact slide of 2100 x 1500 px, the laid-out way that the opener reads."""
    with PyramidWriter(
        tmp_path / "slide.tif", (2100, 1500), mpp=0.5, quality=None, tile_px=128, objective=OPENERS[opener][1]
    ) as writer:
        writer.write((0, 0), np.tile(picture, (3, 3, 1)))
    return tmp_path / "slide.tif"


def fields(count: int) -> list[tuple[tuple[float, float], float, int]]:
    rng = np.random.default_rng(5)
    places = rng.integers(-100, 2000, (count, 2)) + rng.choice([0, 0.25], (count, 1))
    return [((float(x), float(y)), float(rng.choice([64, 100, 700])), 64) for x, y in places]


def damage(path: Path) -> None:
    """Overwrites the tile of level 0 at the upper left corner."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        start, length = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes([255]) * length)


def test_eight_threads_read_what_one_reads(path: Path, opener: str) -> None:
    work = fields(240)
    with OPENERS[opener][0](path) as slide, OPENERS[opener][0](path) as shared, ThreadPoolExecutor(8) as threads:
        expected = [slide.read(*field) for field in work]
        for got, wanted in zip(threads.map(lambda field: shared.read(*field), work), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_errors_of_one_thread_do_not_break_the_others(path: Path, opener: str) -> None:
    with OPENERS[opener][0](path) as slide:
        work = [((float(x), float(y)), 100.0, 100) for x in range(200, 1900, 170) for y in range(200, 1300, 110)]
        expected = [slide.read(*field) for field in work]
    damage(path)
    stop = threading.Event()
    with OPENERS[opener][0](path) as slide, ThreadPoolExecutor(8) as threads:
        assert isinstance(slide, OpenSlideSlide | TiffSlide)

        def fail() -> int:
            failures = 0
            while not stop.is_set():
                with pytest.raises(SlideError, match="damaged or cut short"):
                    slide.read((10, 10), 50, 50)
                failures += 1
            return failures

        failing = [threads.submit(fail) for _ in range(2)]
        try:
            got = list(threads.map(lambda field: slide.read(*field), work))
        finally:
            stop.set()
        assert all(future.result() > 0 for future in failing)
    for read, wanted in zip(got, expected, strict=True):
        np.testing.assert_array_equal(read, wanted)


def test_a_slide_may_be_closed_while_others_read(path: Path, opener: str) -> None:
    slide = OPENERS[opener][0](path)
    expected = slide.read((300, 300), 200, 200)

    def read(_: int) -> bool:
        try:
            return np.array_equal(slide.read((300, 300), 200, 200), expected)
        except SlideError as error:
            return "is closed" in str(error)

    with ThreadPoolExecutor(4) as threads:
        reads = [threads.submit(read, number) for number in range(200)]
        slide.close()
        assert all(future.result() for future in reads)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_what_their_parent_reads(path: Path, opener: str, method: str) -> None:
    work = fields(24)
    with OPENERS[opener][0](path) as slide:
        expected = [slide.read(*field) for field in work]
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context) as workers:
            reads = [workers.submit(slide.read, *field) for field in work]
            for field, wanted in zip(work, expected, strict=True):
                np.testing.assert_array_equal(slide.read(*field), wanted)
            for read, wanted in zip(reads, expected, strict=True):
                np.testing.assert_array_equal(read.result(), wanted)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_amid_reading_threads_reads(path: Path, opener: str) -> None:
    """A lock that another thread held at the fork would hold up the child for ever."""
    slide = OPENERS[opener][0](path)
    expected = slide.read((100, 100), 300, 300)
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            slide.read((100, 100), 300, 300)

    with ThreadPoolExecutor(3) as threads:
        busy = [threads.submit(read_on) for _ in range(3)]
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    same = np.array_equal(slide.read((100, 100), 300, 300), expected)
                    os._exit(0 if same else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
        for future in busy:
            future.result()
