from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage
from PIL import ImageOps

from wsi_tiling import ArraySlide, Image, PyramidWriter, SlideError, open_slide


def whole(path: Path) -> Image:
    with open_slide(path) as slide:
        return slide.read((0, 0), slide.size_l0, slide.size_l0)


def test_png_is_read_exactly(tmp_path: Path, picture: Image) -> None:
    PilImage.fromarray(picture).save(tmp_path / "picture.png")
    np.testing.assert_array_equal(whole(tmp_path / "picture.png"), picture)


def test_jpeg_is_read_as_pillow_reads_it(tmp_path: Path, picture: Image) -> None:
    PilImage.fromarray(picture).save(tmp_path / "picture.jpg", quality=80)
    with PilImage.open(tmp_path / "picture.jpg") as oracle:
        np.testing.assert_array_equal(whole(tmp_path / "picture.jpg"), np.asarray(oracle))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "rowsperstrip": 50},
        {"tile": (64, 64), "compression": "zstd"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 64},
        {"compression": "packbits", "rowsperstrip": 7},
        {"compression": "jpeg2000", "tile": (128, 128), "compressionargs": {"reversible": True}},
        {"compression": "webp", "tile": (128, 128), "compressionargs": {"level": None}},
        {"compression": "zlib", "predictor": True, "tile": (64, 48)},
    ],
)
def test_tiff_files_of_all_kinds_are_read_exactly(tmp_path: Path, picture: Image, options: dict) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", picture, photometric="rgb", **options)
    np.testing.assert_array_equal(whole(tmp_path / "plain.tif"), picture)


def test_a_tiff_file_with_planes_is_read_exactly(tmp_path: Path, picture: Image) -> None:
    planes = np.ascontiguousarray(np.moveaxis(picture, 2, 0))
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(whole(tmp_path / "planes.tif"), picture)
    tifffile.imwrite(
        tmp_path / "tiles.tif", planes, photometric="rgb", planarconfig="separate", tile=(64, 64), compression="zlib"
    )
    np.testing.assert_array_equal(whole(tmp_path / "tiles.tif"), picture)


def test_grey_becomes_colour(tmp_path: Path, picture: Image) -> None:
    tifffile.imwrite(tmp_path / "grey.tif", picture[..., 0], photometric="minisblack")
    PilImage.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    for name in ("grey.tif", "grey.png"):
        np.testing.assert_array_equal(whole(tmp_path / name), np.repeat(picture[..., :1], 3, axis=2))


def test_white_may_be_zero_and_colours_may_come_from_a_palette(tmp_path: Path, picture: Image) -> None:
    tifffile.imwrite(tmp_path / "negative.tif", 255 - picture[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(whole(tmp_path / "negative.tif")[..., 1], picture[..., 0])
    palette = PilImage.fromarray(picture).quantize(200)
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "palette.tif")
    for name in ("palette.png", "palette.tif"):
        np.testing.assert_array_equal(whole(tmp_path / name), np.asarray(palette.convert("RGB")))


def test_colours_multiplied_by_their_opacity_are_taken_apart(tmp_path: Path) -> None:
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[:10] = (100, 5, 5, 128)  # about (200, 10, 10) at half opacity
    tifffile.imwrite(tmp_path / "clear.tif", rgba, photometric="rgb", extrasamples=["assocalpha"])
    half = np.array((100, 5, 5)) + np.array((242, 243, 242)) * 127 / 255
    np.testing.assert_allclose(whole(tmp_path / "clear.tif")[:10], np.broadcast_to(half, (10, 20, 3)), atol=1)


def test_what_is_no_opacity_is_left_out(tmp_path: Path, picture: Image) -> None:
    five = np.concatenate([picture, picture[..., :1], picture[..., :1]], axis=2)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="rgb", extrasamples=["unspecified"] * 2)
    np.testing.assert_array_equal(whole(tmp_path / "five.tif"), picture)
    assert open_slide(tmp_path / "five.tif").notes == (
        "2 of 5 samples a pixel left out: the file does not say what they are",
    )


def test_transparent_pixels_of_a_picture_become_background(tmp_path: Path) -> None:
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[:10] = (200, 10, 10, 255)
    PilImage.fromarray(rgba).save(tmp_path / "clear.png")
    tifffile.imwrite(tmp_path / "clear.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("clear.png", "clear.tif"):
        pixels = whole(tmp_path / name)
        assert (pixels[:10] == (200, 10, 10)).all()
        assert (pixels[10:] == (242, 243, 242)).all()


def test_the_scale_of_a_plain_tiff_file_is_believed_if_a_microscope_could_have_it(
    tmp_path: Path, picture: Image
) -> None:
    for name, per_cm, mpp in (("scan.tif", 2e4, 0.5), ("print.tif", 118.1, None)):
        resolution = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(tmp_path / name, picture, photometric="rgb", **resolution)
        assert open_slide(tmp_path / name).mpp == mpp


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"nothing\.svs: no such file"):
        open_slide(tmp_path / "nothing.svs")
    with pytest.raises(SlideError, match="no such file"):
        open_slide(tmp_path)


@pytest.mark.parametrize("name", ["text.svs", "text.tif", "text.png"])
@pytest.mark.parametrize(
    "content", [b"this is no slide", b"", b"II*\0", b"II*\0\x08\0\0\0\xff\xff", b"\x89PNG\r\n\x1a\n"]
)
def test_a_file_of_no_known_kind_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=name):
        open_slide(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_picture_cut_short_is_named(tmp_path: Path, picture: Image, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    PilImage.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SlideError, match=path.name):
        open_slide(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.99])
def test_a_slide_cut_short_is_named_at_opening_or_at_reading(tmp_path: Path, picture: Image, share: float) -> None:
    path = tmp_path / "cut.svs"
    with PyramidWriter(path, (700, 500), mpp=0.5) as writer:
        writer.write((0, 0), picture)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SlideError, match=r"cut\.svs"):
        whole(path)


def test_after_a_damaged_place_the_rest_is_still_read(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "damaged.tif"
    with PyramidWriter(path, (700, 500), mpp=0.5) as writer:
        writer.write((0, 0), picture)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        start, length = page.dataoffsets[-1], page.databytecounts[-1]
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match="damaged or cut short"):
                slide.read((0, 0), slide.size_l0, slide.size_l0)
            assert slide.read((0, 0), 100, 100).std() > 10


@pytest.mark.parametrize("dtype", [np.uint16, np.int8, np.float32, np.float16, np.uint32])
def test_other_than_eight_bits_are_refused(tmp_path: Path, dtype: type) -> None:
    deep = np.zeros((64, 64), dtype)
    tifffile.imwrite(tmp_path / "strips.tif", deep)
    tifffile.imwrite(tmp_path / "tiles.tif", deep, tile=(32, 32))
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((64, 64, 3), dtype), tile=(32, 32), photometric="rgb")
    for name in ("strips.tif", "tiles.tif", "colour.tif"):
        with pytest.raises(SlideError, match="wanted 8 bits a channel"):
            open_slide(tmp_path / name)


def test_a_png_of_sixteen_bits_is_refused(tmp_path: Path, picture: Image) -> None:
    for deep in (np.zeros((20, 20), np.uint16), picture[:20, :20].astype(np.uint16) << 4):
        (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
        with pytest.raises(SlideError, match="wanted 8 bits a channel, got 16; convert it first"):
            open_slide(tmp_path / "deep.png")


def test_photos_are_upright_and_a_film_behind_them_is_not_looked_at(tmp_path: Path, picture: Image) -> None:
    path = tmp_path / "photo.jpg"
    exif = PilImage.Exif()
    exif[274] = 6
    PilImage.fromarray(picture[:40, :60]).save(path, exif=exif)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0" * 101)
    with PilImage.open(path) as photo:
        np.testing.assert_array_equal(whole(path), ImageOps.exif_transpose(photo))
    assert open_slide(path).size_l0 == (40, 60)


def test_colours_that_we_do_not_decode_are_left_to_openslide_or_refused(tmp_path: Path, picture: Image) -> None:
    ink = np.concatenate([255 - picture, np.zeros_like(picture[..., :1])], axis=2)
    tifffile.imwrite(tmp_path / "tiles.tif", ink, photometric="separated", tile=(128, 128), compression="zlib")
    tifffile.imwrite(tmp_path / "strips.tif", ink, photometric="separated")
    np.testing.assert_allclose(whole(tmp_path / "tiles.tif"), picture, atol=1)
    with pytest.raises(SlideError, match="photometric 5"):
        open_slide(tmp_path / "strips.tif")


@pytest.mark.real_data
def test_a_real_slide_cut_short_is_named(real_data: Path, tmp_path: Path) -> None:
    content = (real_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    for share in (0.2, 0.6, 0.9):
        (tmp_path / "cut.svs").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(SlideError, match=r"cut\.svs"):
            whole(tmp_path / "cut.svs")


@pytest.mark.real_data
def test_a_real_photograph_opens(real_data: Path) -> None:
    with open_slide(real_data / "aerial" / "yellowstone-2299x2472.jpg", mpp=1.0) as slide:
        assert isinstance(slide, ArraySlide)
        assert slide.size_l0 == (2299, 2472)
