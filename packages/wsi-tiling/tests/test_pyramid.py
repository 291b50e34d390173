import errno
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi_tiling import Image, PyramidWriter, SlideError, open_slide
from wsi_tiling.writing.tile_store import EncodedTiles, RawTiles


def level(path: Path, index: int) -> Image:
    with openslide.OpenSlide(path) as slide:
        size = slide.level_dimensions[index]
        return np.asarray(slide.read_region((0, 0), index, size))[..., :3]


def halved(image: Image) -> np.ndarray:
    """2 x 2 means, an odd edge repeated."""
    image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge").astype(float)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def test_openslide_sees_every_level_and_the_scale(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with PyramidWriter(path, (2048, 1500), mpp=0.25, description="made up"):
        pass
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((2048, 1500), (1024, 750), (512, 375), (256, 188))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        assert slide.properties["openslide.comment"] == "made up"


def test_tifffile_sees_one_pyramid(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with PyramidWriter(path, (1024, 1024), mpp=0.25):
        pass
    with tifffile.TiffFile(path) as tiff:
        assert [series.shape for series in tiff.series[0].levels] == [(1024, 1024, 3), (512, 512, 3), (256, 256, 3)]


@pytest.mark.parametrize("description", ["made up", "Größe in µm, 病理", "two\nlines | MPP = 9 | AppMag = 3", ""])
@pytest.mark.parametrize("quality", [80, None])
def test_openslide_is_told_the_power_of_the_objective(
    tmp_path: Path, picture: Image, description: str, quality: int | None
) -> None:
    path = tmp_path / "slide.tif"
    with PyramidWriter(
        path, (2048, 1500), mpp=0.25, objective=40, description=description, quality=quality, tile_px=128
    ) as writer:
        writer.write((0, 0), picture[:384, :640])
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.level_dimensions == ((2048, 1500), (1024, 750), (512, 375), (256, 188))
        assert slide.properties["openslide.objective-power"] == "40"
        assert float(slide.properties["openslide.mpp-x"]) == float(slide.properties["openslide.mpp-y"]) == 0.25
        assert description in slide.properties["openslide.comment"]
        thumbnail = slide.associated_images["thumbnail"].convert("RGB")
        assert thumbnail.size == (1024, 750)
        small = np.asarray(slide.read_region((0, 0), 1, (1024, 750)))[..., :3]
        assert np.abs(np.asarray(thumbnail).astype(int) - small).mean() < 6
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_svs
        assert [series.name for series in tiff.series] == ["Baseline", "Thumbnail"]
        shapes = [(1500, 2048, 3), (750, 1024, 3), (375, 512, 3), (188, 256, 3)]
        assert [series.shape for series in tiff.series[0].levels] == shapes
    with open_slide(path) as slide:
        assert (slide.mpp, slide.levels[-1]) == (0.25, (256, 188))


def test_the_power_may_be_known_and_the_scale_not(tmp_path: Path) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (200, 100), mpp=None, objective=2.5):
        pass
    with openslide.OpenSlide(tmp_path / "slide.tif") as slide:
        assert slide.level_dimensions == ((200, 100),)
        assert slide.properties["openslide.objective-power"] == "2.5"
        assert "openslide.mpp-x" not in slide.properties


def test_a_description_beyond_ascii_survives(tmp_path: Path) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (300, 300), mpp=0.5, description="Größe in µm, 病理"):
        pass
    with openslide.OpenSlide(tmp_path / "slide.tif") as slide:
        assert slide.properties["openslide.comment"] == "Größe in µm, 病理"
    with tifffile.TiffFile(tmp_path / "slide.tif") as tiff:
        assert tiff.pages.first.description == "Größe in µm, 病理"


@pytest.mark.parametrize("quality", [80, None])
def test_the_file_depends_neither_on_the_threads_nor_on_the_order(
    tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch, quality: int | None
) -> None:
    places = [(x, y) for y in range(0, 500, 64) for x in range(0, 700, 64)]
    contents = set()
    for threads, seed in ((1, None), (1, 2), (5, None), (5, 4)):
        monkeypatch.setattr("wsi_tiling.writing.pyramid._MAX_THREADS", threads)
        monkeypatch.setattr("os.cpu_count", lambda: 16)
        if seed is not None:
            np.random.default_rng(seed).shuffle(places)
        path = tmp_path / "slide.tif"
        with PyramidWriter(path, (700, 500), mpp=0.5, tile_px=64, quality=quality, overwrite=True) as writer:
            buffer = np.empty((64, 64, 3), np.uint8)  # used again: the writer keeps nothing of the caller's
            for x, y in places:
                tile = picture[y : y + 64, x : x + 64]
                part = buffer[: tile.shape[0], : tile.shape[1]]
                part[:] = tile
                writer.write((x, y), part)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    """The peaks of a process that writes 4 and of one that writes 64 million pixels, as many columns as rows."""
    script = (
        "import sys, numpy as np; from pathlib import Path; from wsi_tiling import PyramidWriter\n"
        "side = int(sys.argv[2]); tile = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)\n"
        "with PyramidWriter(sys.argv[1], (side, side), mpp=1.0) as writer:\n"
        "    for place in range((side // 256) ** 2):\n"
        "        writer.write((place % (side // 256) * 256, place // (side // 256) * 256), tile)\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    peaks = []
    for side in (2048, 8192):
        command = [sys.executable, "-c", script, str(tmp_path / f"{side}.tif"), str(side)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 100 * 2**10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(size=st.tuples(st.integers(1, 700), st.integers(1, 500)), tile=st.sampled_from([64, 128, 256]), data=st.data())
def test_exact_slides_come_back_exactly_in_any_order(
    tmp_path: Path, picture: Image, size: tuple[int, int], tile: int, data: st.DataObject
) -> None:
    path = tmp_path / "exact.tif"
    image = picture[: size[1], : size[0]]
    places = [(x, y) for y in range(0, size[1], tile) for x in range(0, size[0], tile)]
    with PyramidWriter(path, size, mpp=0.5, tile_px=tile, quality=None, overwrite=True) as writer:
        for x, y in data.draw(st.permutations(places)):
            writer.write((x, y), image[y : y + tile, x : x + tile])
    np.testing.assert_array_equal(level(path, 0), image)
    with tifffile.TiffFile(path) as tiff:
        for before, after in zip(tiff.pages, tiff.pages[1:], strict=False):
            np.testing.assert_allclose(after.asarray(), halved(before.asarray()), atol=0.51)


def test_spilled_tiles_change_nothing(tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_tiling.writing.pyramid._HELD_BYTES", 0)
    places = [(x, y) for y in range(0, 500, 64) for x in range(0, 700, 64)]
    np.random.default_rng(3).shuffle(places)
    with PyramidWriter(tmp_path / "spilled.tif", (700, 500), mpp=None, tile_px=64, quality=None) as writer:
        for x, y in places:
            writer.write((x, y), picture[y : y + 64, x : x + 64])
    np.testing.assert_array_equal(level(tmp_path / "spilled.tif", 0), picture)
    np.testing.assert_allclose(level(tmp_path / "spilled.tif", 1), halved(picture), atol=0.51)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (0, 255, 0), (242, 243, 242), (120, 60, 150)])
def test_jpeg_keeps_colours(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    path = tmp_path / "colour.tif"
    with PyramidWriter(path, (600, 600), mpp=0.5) as writer:
        writer.write((0, 0), np.full((600, 600, 3), colour, np.uint8))
    for index in (0, 1):
        assert np.abs(level(path, index).astype(int) - colour).max() <= 3
    assert np.abs(tifffile.imread(path).astype(int) - colour).max() <= 3


def test_jpeg_stays_close_to_a_smooth_picture(tmp_path: Path) -> None:
    y, x = np.mgrid[:512, :512]
    smooth = np.stack([128 + 100 * np.sin(x / 60), 128 + 100 * np.cos(y / 70), (x + y) / 5], axis=-1).astype(np.uint8)
    with PyramidWriter(tmp_path / "smooth.tif", (512, 512), mpp=0.5) as writer:
        writer.write((0, 0), smooth)
    assert np.abs(level(tmp_path / "smooth.tif", 0).astype(int) - smooth).max() <= 8


def test_tiles_never_written_are_background(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "gaps.tif"
    with PyramidWriter(path, (1024, 1024), mpp=0.5, quality=None, background=(9, 8, 7)) as writer:
        writer.write((256, 512), picture[:256, :256])
    expected = np.full((1024, 1024, 3), (9, 8, 7), np.uint8)
    expected[512:768, 256:512] = picture[:256, :256]
    np.testing.assert_array_equal(level(path, 0), expected)
    np.testing.assert_allclose(level(path, 1), halved(expected), atol=0.51)


def test_an_unknown_scale_stays_unknown(tmp_path: Path) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (300, 300), mpp=None):
        pass
    with open_slide(tmp_path / "slide.tif") as slide:
        assert slide.mpp is None


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop_midway() -> None:
        with PyramidWriter(tmp_path / "slide.tif", (300, 300), mpp=0.5) as writer:
            writer.write((0, 0), np.zeros((300, 300, 3), np.uint8))
            raise KeyError

    with pytest.raises(KeyError):
        stop_midway()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quality", [90, None])
def test_tiles_never_written_count_when_the_file_may_be_too_large(
    tmp_path: Path, quality: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A classic TIFF file has room for 4 GiB, whoever fills it."""
    monkeypatch.setattr("wsi_tiling.writing.pyramid._LARGEST_CLASSIC_BYTES", 20_000)
    tile = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    for name, size, big in (("small.tif", (64, 64), False), ("large.tif", (2048, 2048), True)):
        with PyramidWriter(tmp_path / name, size, mpp=0.5, quality=quality, tile_px=32) as writer:
            writer.write((32, 32), tile)
            assert writer._stores()[0].total_bytes < 20_000
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert tiff.is_bigtiff == big
        assert ((tmp_path / name).stat().st_size > 20_000) == big
        with open_slide(tmp_path / name) as slide:
            assert slide.size_l0 == size


@pytest.mark.parametrize("error", [struct.error("'I' format requires 0 <= number"), ValueError("no"), OverflowError()])
def test_what_the_form_of_the_file_has_no_room_for_is_one_line(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wsi_tiling.writing.pyramid.write_tiff", fail)
    with (
        pytest.raises(SlideError, match=r"slide\.tif cannot be written: "),
        PyramidWriter(tmp_path / "slide.tif", (64, 64), mpp=0.5),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_nothing_behind(tmp_path: Path) -> None:
    script = (
        "import sys, time, numpy as np; from wsi_tiling import PyramidWriter\n"
        "with PyramidWriter(sys.argv[1], (4096, 4096), mpp=1.0) as writer:\n"
        "    writer.write((0, 0), np.zeros((1024, 4096, 3), np.uint8)); print('half', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "slide.tif")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not list(tmp_path.iterdir())


def test_a_process_killed_while_it_puts_the_file_together_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    script = (
        "import sys, time, wsi_tiling.writing.pyramid; from wsi_tiling import PyramidWriter\n"
        "def halt(path, *arguments, **options):\n"
        "    path.write_bytes(b'II*'); print('half', flush=True); time.sleep(60)\n"
        "wsi_tiling.writing.pyramid.write_tiff = halt\n"
        "with PyramidWriter(sys.argv[1], (512, 512), mpp=1.0): pass\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "slide.tif")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        os.kill(process.pid, signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert left.suffix == ".partial"
    with PyramidWriter(tmp_path / "slide.tif", (512, 512), mpp=1.0):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["slide.tif"]


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".tif")
    with PyramidWriter(path, (64, 64), mpp=1.0):
        pass
    assert path.exists()


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_text("mine")
    with pytest.raises(SlideError, match="overwrite=True"):
        PyramidWriter(path, (300, 300), mpp=0.5)
    assert path.read_text() == "mine"
    with PyramidWriter(path, (300, 300), mpp=0.5, overwrite=True):
        assert path.read_text() == "mine"
    assert open_slide(path).size_l0 == (300, 300)


def test_a_file_made_in_the_meantime_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with pytest.raises(SlideError, match="in the meantime"), PyramidWriter(path, (300, 300), mpp=0.5):
        path.write_text("mine")
    assert [entry.name for entry in tmp_path.iterdir()] == ["slide.tif"]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("store", [EncodedTiles, RawTiles])
def test_a_full_disk_is_told(
    tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch, store: type[EncodedTiles | RawTiles]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "put", full)
    with (
        pytest.raises(SlideError, match="disk is full"),
        PyramidWriter(tmp_path / "slide.tif", (700, 500), mpp=0.5) as writer,
    ):
        writer.write((0, 0), picture[:256, :256])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quality", [95, None])
def test_a_write_that_fails_is_told_and_leaves_nothing(tmp_path: Path, picture: Image, quality: int | None) -> None:
    def write() -> None:
        with PyramidWriter(tmp_path / "slide.tif", (700, 500), mpp=0.5, quality=quality) as writer:
            writer.write((0, 0), picture)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SlideError, match="cannot be written: File too large"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("xy", "shape"),
    [
        ((10, 0), (256, 256)),
        ((0, 0), (100, 256)),
        ((-256, 0), (256, 256)),
        ((512, 256), (256, 256)),
        ((1024, 0), (1, 1)),
    ],
)
def test_tiles_off_the_grid_are_refused(tmp_path: Path, xy: tuple[int, int], shape: tuple[int, int]) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (700, 500), mpp=0.5) as writer:
        with pytest.raises(SlideError, match="do not fit the grid"):
            writer.write(xy, np.zeros((*shape, 3), np.uint8))
        with pytest.raises(SlideError, match="wanted an image"):
            writer.write((0, 0), np.zeros((256, 256), np.uint8))


def test_a_tile_is_written_once(tmp_path: Path, picture: Image) -> None:
    with PyramidWriter(tmp_path / "slide.tif", (700, 500), mpp=0.5) as writer:
        writer.write((0, 0), picture[:256])
        with pytest.raises(SlideError, match="written already"):
            writer.write((256, 0), picture[:256, :256])


def test_tiles_are_written_inside_the_block_only(tmp_path: Path, picture: Image) -> None:
    writer = PyramidWriter(tmp_path / "slide.tif", (700, 500), mpp=0.5)
    with pytest.raises(SlideError, match="inside a `with"):
        writer.write((0, 0), picture)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mpp": -1.0}, "micrometres"),
        ({"tile_px": 100}, "multiple of 16"),
        ({"quality": 0}, "quality"),
        ({"size_px": (0, 5)}, "at least 1 x 1"),
        ({"description": "a\0b"}, "zero characters"),
        ({"objective": 0}, "power"),
        ({"objective": float("inf")}, "power"),
    ],
)
def test_senseless_arguments_are_refused(tmp_path: Path, wrong: dict, message: str) -> None:
    arguments = {"size_px": (300, 300), "mpp": 0.5} | wrong
    with pytest.raises(SlideError, match=message):
        PyramidWriter(tmp_path / "slide.tif", **arguments)
    with pytest.raises(SlideError, match="there is no folder"):
        PyramidWriter(tmp_path / "nowhere" / "slide.tif", (300, 300), mpp=0.5)
