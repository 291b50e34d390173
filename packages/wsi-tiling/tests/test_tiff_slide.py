import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image as PilImage

from wsi_tiling import ArraySlide, Image, PyramidWriter, SlideError, TileCache, open_slide
from wsi_tiling.reading.formats.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.tiff.slide import TiffSlide
from wsi_tiling.region import block_mean

OME = {
    "axes": "YXS",
    "PhysicalSizeX": 0.25,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 0.25,
    "PhysicalSizeYUnit": "µm",
}


def write_ome(path: Path, levels: list[np.ndarray], metadata: dict[str, Any] | None = None, **options: Any) -> None:
    """An OME-TIFF file with its reduced levels below the first, as Bio-Formats and QuPath write them."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(levels[0], subifds=len(levels) - 1, metadata=OME | (metadata or {}), **options)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **options)


@pytest.fixture(scope="module")
def levels(picture: Image) -> list[Image]:
    """The picture, a half and a quarter of it."""
    return [picture, block_mean(picture, (2, 2)), block_mean(picture, (4, 4))]


def read_level(slide: TiffSlide, level: int) -> Image:
    return slide._pixels(level, 0, 0, *slide.levels[level])


def planes(images: list[Image]) -> list[Image]:
    return [np.ascontiguousarray(np.moveaxis(image, 2, 0)) for image in images]


@pytest.mark.parametrize(
    ("separate", "options"),
    [
        (False, {"tile": (128, 128)}),
        (False, {"tile": (128, 128), "compression": "zlib", "predictor": True}),
        (False, {"tile": (64, 256), "compression": "lzw"}),
        (False, {"rowsperstrip": 16, "compression": "zstd"}),
        (True, {"tile": (128, 128), "compression": "zlib"}),
        (True, {"rowsperstrip": 50}),
    ],
)
def test_an_ome_tiff_is_read_with_all_its_levels(
    tmp_path: Path, levels: list[Image], separate: bool, options: dict[str, Any]
) -> None:
    path = tmp_path / "slide.ome.tif"
    if separate:
        write_ome(path, planes(levels), {"axes": "SYX"}, photometric="rgb", planarconfig="separate", **options)
    else:
        write_ome(path, levels, photometric="rgb", **options)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.levels == ((700, 500), (350, 250), (175, 125))
        assert slide.mpp == 0.25
        for number, expected in enumerate(levels):
            np.testing.assert_array_equal(read_level(slide, number), expected)


def test_red_green_and_blue_may_be_pictures_of_their_own(tmp_path: Path, levels: list[Image]) -> None:
    options = {"photometric": "minisblack", "tile": (128, 128), "compression": "zlib"}
    write_ome(tmp_path / "slide.ome.tif", planes(levels), {"axes": "CYX"}, **options)
    names = {"Channel": {"Name": ["DAPI", "FITC", "TRITC"]}, "axes": "CYX"}
    write_ome(tmp_path / "stains.ome.tif", planes(levels), names, **options)
    with open_slide(tmp_path / "slide.ome.tif") as slide:
        assert slide.levels == ((700, 500), (350, 250), (175, 125))
        np.testing.assert_array_equal(slide.read((0, 0), (700, 500), (700, 500)), levels[0])
    with pytest.raises(SlideError, match="wanted red, green and blue, got 3 channels dapi, fitc, tritc"):
        open_slide(tmp_path / "stains.ome.tif")


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [(250.0, "nm", 0.25), (0.00025, "mm", 0.25), (2.5e-5, "cm", 0.25), (1.0, "pixel", None), (None, None, None)],
)
def test_the_scale_of_an_ome_tiff_has_a_unit(
    tmp_path: Path, picture: Image, size: float | None, unit: str | None, mpp: float | None
) -> None:
    stated = {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    metadata = {"axes": "YXS"} | (stated if size else {})
    tifffile.imwrite(tmp_path / "slide.ome.tif", picture, photometric="rgb", tile=(128, 128), metadata=metadata)
    with open_slide(tmp_path / "slide.ome.tif") as slide:
        assert slide.mpp == pytest.approx(mpp)


def test_an_ome_tiff_of_several_planes_is_refused(tmp_path: Path, picture: Image) -> None:
    stack = np.stack([picture] * 3)
    tifffile.imwrite(tmp_path / "z.ome.tif", stack, photometric="rgb", tile=(128, 128), metadata={"axes": "ZYXS"})
    with pytest.raises(SlideError, match="wanted one plane, got 3"):
        open_slide(tmp_path / "z.ome.tif")


def test_a_pyramid_that_openslide_takes_in_part_is_read_whole(tmp_path: Path, levels: list[Image]) -> None:
    """Levels below the first, levels not marked as reduced, and levels in a compression that OpenSlide lacks."""
    options = {"photometric": "rgb", "tile": (128, 128), "metadata": None}
    for name, first, other in (
        ("below.tif", {"subifds": 2}, {"subfiletype": 1}),
        ("unmarked.tif", {}, {}),
        ("zstd.tif", {"compression": "zstd"}, {"compression": "zstd", "subfiletype": 1}),
    ):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            tiff.write(levels[0], **options, **first)
            for level in levels[1:]:
                tiff.write(level, **options, **other)
        with open_slide(tmp_path / name) as slide:
            assert isinstance(slide, TiffSlide)
            assert slide.levels == ((700, 500), (350, 250), (175, 125))
            for number, expected in enumerate(levels):
                np.testing.assert_array_equal(read_level(slide, number), expected)


def test_other_pictures_in_the_file_are_no_levels(tmp_path: Path, levels: list[Image]) -> None:
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tiff:
        tiff.write(levels[0], photometric="rgb", tile=(128, 128), metadata=None)
        tiff.write(levels[0][:300, :200], photometric="rgb", tile=(128, 128), metadata=None)  # a label
        tiff.write(levels[0][:100, :300], photometric="rgb", subfiletype=1, metadata=None)  # a macro, of another shape
        tiff.write(levels[0], photometric="rgb", tile=(128, 128), metadata=None)  # a focal plane
        tiff.write(levels[1][..., 0] > 99, photometric="mask", subfiletype=5, metadata=None)
    with open_slide(tmp_path / "slide.tif") as slide:
        assert slide.levels == ((700, 500),)


def test_jpeg_tiles_are_decoded_as_openslide_decodes_them(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "slide.tif"
    with PyramidWriter(path, (700, 500), mpp=0.5, quality=70) as writer:
        writer.write((0, 0), picture)
    with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.levels == oracle.level_dimensions
        for level, size in enumerate(slide.levels):
            expected = np.asarray(oracle.read_region((0, 0), level, size))[..., :3]
            np.testing.assert_array_equal(read_level(slide, level), expected)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_of_either_colours_is_read_as_openslide_reads_it(tmp_path: Path, picture: Image, photometric: str) -> None:
    tifffile.imwrite(
        tmp_path / "slide.tif", picture, photometric=photometric, tile=(128, 128), compression="jpeg", metadata=None
    )
    with openslide.OpenSlide(tmp_path / "slide.tif") as oracle, open_slide(tmp_path / "slide.tif") as slide:
        expected = np.asarray(oracle.read_region((0, 0), 0, (700, 500)))[..., :3]
        np.testing.assert_array_equal(slide.read((0, 0), (700, 500), (700, 500)), expected)


def test_an_aperio_slide_is_read_here_where_that_gives_openslides_pixels(tmp_path: Path, picture: Image) -> None:
    for quality, kind in ((80, TiffSlide), (None, OpenSlideSlide)):
        path = tmp_path / f"{quality}.svs"
        with PyramidWriter(path, (700, 500), mpp=0.25, objective=40, quality=quality) as writer:
            writer.write((0, 0), picture)
        with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
            assert type(slide) is kind
            assert (slide.levels, slide.mpp) == (oracle.level_dimensions, 0.25)
            expected = np.asarray(oracle.read_region((30, 40), 0, (600, 400)))[..., :3]
            np.testing.assert_array_equal(slide.read((30, 40), (600, 400), (600, 400)), expected)


def test_tiles_that_are_left_out_are_background(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "sparse.tif"
    with PyramidWriter(path, (700, 500), mpp=0.5, quality=None) as writer:
        writer.write((0, 0), picture)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        lengths = list(tiff.pages.first.databytecounts)
        lengths[1] = 0
        tiff.pages.first.tags["TileByteCounts"].overwrite(lengths)
    with open_slide(path, background=(1, 2, 3)) as slide:
        read = slide.read((0, 0), (700, 500), (700, 500))
    assert (read[:256, 256:512] == (1, 2, 3)).all()
    np.testing.assert_array_equal(read[256:], picture[256:])
    np.testing.assert_array_equal(read[:, :256], picture[:, :256])


def test_a_large_striped_picture_is_read_by_strips_in_little_memory(tmp_path: Path) -> None:
    rows, columns = 20_000, 18_000
    texture = np.random.default_rng(0).integers(0, 255, (100, columns, 3), np.uint8)
    strip = imagecodecs.zlib_encode(texture.tobytes(), level=1)
    path = tmp_path / "strips.tif"
    options = {"shape": (rows, columns, 3), "dtype": np.uint8, "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(iter([strip] * 200), rowsperstrip=100, compression="zlib", **options)
    script = (
        "import sys, numpy as np; from pathlib import Path; from wsi_tiling import open_slide\n"
        "def peak(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "with open_slide(sys.argv[1]) as slide:\n"
        "    assert slide.size_l0 == (18000, 20000)\n"
        "    read = slide.read((5000, 10010), 256, 256)\n"
        "    slide.read((0, 0), (18000, 2000), (180, 20))\n"
        "np.save(sys.stdout.buffer, read)\n"
        "print(peak() - before, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True)
    read = np.load(io.BytesIO(done.stdout))
    np.testing.assert_array_equal(read, np.tile(texture[:, 5000:5256], (4, 1, 1))[10:266])
    assert int(done.stderr) < 300 * 2**10


def test_one_uncompressed_strip_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_tiling.reading.formats.plain_tiff.MAX_IMAGE_PX", 1000)
    y, x = np.mgrid[:3000, :2000]
    picture = np.stack([x % 251, y % 241, (x + y) % 239], axis=-1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "strip.tif", picture, photometric="rgb", rowsperstrip=3000)
    with open_slide(tmp_path / "strip.tif") as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.layouts[0].grid == (1, 1)
        np.testing.assert_array_equal(slide.read((700, 900), (64, 1500), (64, 1500)), picture[900:2400, 700:764])
        np.testing.assert_array_equal(slide.read((0, 0), (2000, 10), (2000, 10)), picture[:10])


def test_a_small_striped_picture_is_held_in_memory(tmp_path: Path, picture: Image) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", picture, photometric="rgb")
    assert isinstance(open_slide(tmp_path / "plain.tif"), ArraySlide)


def test_the_cache_is_bounded_and_used(tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.tif"
    with PyramidWriter(path, (700, 500), mpp=0.5, tile_px=128, quality=None) as writer:
        writer.write((0, 0), picture)
    decoded = []

    def counted(*arguments: Any) -> Any:
        decoded.append(arguments)
        return decode(*arguments)

    from wsi_tiling.reading.tiff.slide import decode_segment as decode

    monkeypatch.setattr("wsi_tiling.reading.tiff.slide.decode_segment", counted)
    for cache_mib, expected in ((32, 24), (0, 72)):
        decoded.clear()
        with open_slide(path, cache_mib=cache_mib) as slide:
            for _ in range(3):
                slide.read((0, 0), (700, 500), (700, 500))
            assert len(decoded) == expected
    with open_slide(path, cache_mib=0.25) as slide:
        slide.read((0, 0), (700, 500), (700, 500))
        assert isinstance(slide, TiffSlide)
        assert 0 < slide._file().cache.bytes <= 2**18
    for wrong in (-1, float("nan")):
        with pytest.raises(SlideError, match="cache"):
            open_slide(path, cache_mib=wrong)


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = TileCache(250)
    tiles = [np.full(100, number, np.uint8) for number in range(3)]
    cache.put("a", tiles[0])
    cache.put("b", tiles[1])
    assert cache.get("a") is tiles[0]
    cache.put("c", tiles[2])
    assert cache.get("b") is None
    assert cache.get("a") is tiles[0]
    cache.put("a", tiles[1])
    assert cache.bytes == 200
    cache.put("large", np.zeros(251, np.uint8))
    assert cache.get("large") is None


@pytest.mark.real_data
def test_the_real_slide_is_read_here_with_openslides_pixels(real_data: Path) -> None:
    path = real_data / "slides" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        expected = np.asarray(oracle.read_region((0, 0), 0, slide.size_l0))[..., :3]
        np.testing.assert_array_equal(slide.read((0, 0), slide.size_l0, slide.size_l0), expected)


def test_a_picture_that_pillow_writes_is_read(tmp_path: Path, picture: Image) -> None:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        path = tmp_path / f"{compression}.tif"
        PilImage.fromarray(picture).save(path, compression=compression)
        with PilImage.open(path) as oracle, open_slide(path) as slide:
            expected = np.asarray(oracle.convert("RGB"))
            np.testing.assert_array_equal(slide.read((0, 0), (700, 500), (700, 500)), expected)
