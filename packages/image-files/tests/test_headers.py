"""Orientation, departures, further pictures, sizes and damage."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from image_files import Departure, ImageFileError, describe, read_numbers, read_rgb

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_and_masks_are_turned_upright_alike(
    tmp_path: Path, orientation: int, png: Callable[..., bytes], chunk: Callable[..., bytes], exif: Callable[..., bytes]
) -> None:
    jpeg, mask, tiff = tmp_path / "image.jpg", tmp_path / "mask.png", tmp_path / "mask.tif"
    PIL.Image.fromarray(COLOUR).save(jpeg, exif=b"Exif\0\0" + exif(orientation))
    mask.write_bytes(png(GREY, 8, "grey", chunk(b"eXIf", exif(orientation))))
    tifffile.imwrite(tiff, GREY, extratags=[(274, 3, 1, orientation, True)])
    with PIL.Image.open(jpeg) as picture:
        np.testing.assert_array_equal(read_rgb(jpeg), PIL.ImageOps.exif_transpose(picture))
    with PIL.Image.open(mask) as picture:
        upright = np.asarray(PIL.ImageOps.exif_transpose(picture))
    for path in (mask, tiff):
        np.testing.assert_array_equal(read_numbers(path), upright)
        np.testing.assert_array_equal(read_rgb(path)[..., 0], upright)
        assert describe(path).size_px == upright.shape[::-1]
        assert (Departure.TURNED in describe(path).departures) == (orientation > 1)


def test_departures_are_known_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "image"
    for array, container, departures in (
        (COLOUR, "PNG", ()),
        (GREY, "PNG", (Departure.GREY,)),
        (GREY.astype(np.uint16), "PNG", (Departure.GREY, Departure.DEEP)),
        (np.dstack([COLOUR, GREY]), "TIFF", (Departure.TRANSPARENT,)),
    ):
        PIL.Image.fromarray(array).save(path, container)
        info = describe(path, allow_16_bits=True)
        assert (info.departures, info.format, info.size_px) == (departures, container, (20, 12))


def test_transparent_pixels_are_laid_on_a_colour(tmp_path: Path) -> None:
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[0, 1] = (200, 0, 100, 51)  # a fifth
    PIL.Image.fromarray(pixels).save(tmp_path / "clear.png")
    assert read_rgb(tmp_path / "clear.png").tolist() == [[[10, 20, 30], [244, 204, 224]]]
    assert read_rgb(tmp_path / "clear.png", background=(100, 0, 0)).tolist() == [[[10, 20, 30], [120, 0, 20]]]


def test_a_fourth_channel_of_unknown_meaning_is_taken_only_where_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    for opacity in (255, 0):
        pixels = np.dstack([COLOUR, np.full((12, 20), opacity, np.uint8)])
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unspecified"])
        if opacity:
            np.testing.assert_array_equal(read_rgb(path), COLOUR)
        else:
            with pytest.raises(ImageFileError, match="may be transparency or not; save it as RGB without that"):
                read_rgb(path)


def test_a_film_behind_a_photo_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    PIL.Image.fromarray(COLOUR).save(path)
    photo = read_rgb(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0" * 101)
    np.testing.assert_array_equal(read_rgb(path), photo)
    assert describe(path).departures == ()


def test_of_a_photo_with_further_pictures_the_first_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    first, second = PIL.Image.fromarray(COLOUR), PIL.Image.fromarray(255 - COLOUR)
    first.save(path, "MPO", save_all=True, append_images=[second])
    first.save(tmp_path / "alone.jpg")
    np.testing.assert_array_equal(read_rgb(path), read_rgb(tmp_path / "alone.jpg"))
    assert describe(path).departures == (Departure.SEVERAL,)


@pytest.mark.parametrize("container", ["TIFF", "PNG", "WEBP", "stack", "large stack"])
def test_files_of_several_pictures_are_refused(tmp_path: Path, container: str) -> None:
    path = tmp_path / "several"
    if "stack" in container:
        tifffile.imwrite(path, np.stack([GREY] * 3), imagej=True, metadata={"axes": "ZYX"})
        if container == "large stack":  # ImageJ writes one directory for all from 4 GB on
            tifffile.imwrite(path, GREY, description="ImageJ=1.54f\nimages=3\nslices=3\n", metadata=None)
    else:
        first, second = PIL.Image.fromarray(COLOUR), PIL.Image.fromarray(255 - COLOUR)
        first.save(path, container, save_all=True, append_images=[second])
    for read in (describe, read_rgb):
        with pytest.raises(ImageFileError, match=r"several: it (holds several images|is animated); save the wanted"):
            read(path)
    if container in ("TIFF", "stack", "large stack"):
        with pytest.raises(ImageFileError, match=r"several images|one channel"):
            read_numbers(path)


def test_reduced_copies_in_a_tiff_are_not_further_pictures(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as tiff:
        tiff.write(GREY, photometric="minisblack")
        tiff.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_numbers(tmp_path / "pyramid.tif"), GREY)
    np.testing.assert_array_equal(read_rgb(tmp_path / "pyramid.tif")[..., 2], GREY)


def test_whole_numbers_in_half_precision_become_integers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "half.tif", np.array([[0, 2048]], np.float16))
    assert read_numbers(tmp_path / "half.tif").tolist() == [[0, 2048]]


def test_whole_floating_point_numbers_become_integers(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    for numbers, cause in ((GREY * 1000.0, None), (GREY + 0.5, "got fractions"), (-1.0 * GREY, "from 0 up")):
        tifffile.imwrite(path, numbers.astype(np.float32))
        if cause is None:
            assert read_numbers(path).dtype == np.uint32
            np.testing.assert_array_equal(read_numbers(path), numbers)
        else:
            with pytest.raises(ImageFileError, match=f"{cause}.*; save integers"):
                read_numbers(path)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_numbers_of_a_large_file_can_be_mapped(tmp_path: Path, byte_order: Literal["<", ">"]) -> None:
    path = tmp_path / "mask.tif"
    with tifffile.TiffWriter(path, byteorder=byte_order) as tiff:
        tiff.write(GREY.astype(np.uint16) * 200)
    numbers = read_numbers(path, memory_map=True)
    np.testing.assert_array_equal(numbers, GREY.astype(np.uint16) * 200)
    base: Any = numbers
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert (base is not None) == (byte_order == "<")
    assert numbers.dtype.isnative


def bomb(kind: str, png: Callable[..., bytes]) -> bytes:
    """A small file that says that it is large."""
    size = (60_000).to_bytes(4, "big")
    if kind == "png":
        content = png(GREY, 8, "grey")
        return content[:16] + size + size + content[24:]
    content = bytes(imagecodecs.jpeg8_encode(COLOUR))
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + size[2:] * 2 + content[frame + 9 :]


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_files_that_claim_too_much_are_refused_unread(tmp_path: Path, kind: str, png: Callable[..., bytes]) -> None:
    (tmp_path / "bomb").write_bytes(bomb(kind, png))
    for read in (describe, read_rgb):
        with pytest.raises(ImageFileError, match="60,000 x 60,000 px is too large to be read whole"):
            read(tmp_path / "bomb")


def test_a_tiff_whose_streams_claim_too_much_is_refused_unread(tmp_path: Path, png: Callable[..., bytes]) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", compression="jpeg", metadata=None)
    content = path.read_bytes()
    frame = content.rindex(b"\xff\xc0")
    path.write_bytes(content[: frame + 5] + (60_000).to_bytes(2, "big") * 2 + content[frame + 9 :])
    with pytest.raises(ImageFileError, match="damaged"):
        read_rgb(path)


def test_a_jpeg_of_countless_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    PIL.Image.fromarray(COLOUR).save(path, progressive=True)
    content = path.read_bytes()
    last = content.rindex(b"\xff\xda")
    path.write_bytes(content[:-2] + content[last:-2] * 200 + b"\xff\xd9")
    with pytest.raises(ImageFileError, match="damaged or cut short: it has more than 100 scans"):
        read_rgb(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (describe, read_rgb, read_numbers):
        with pytest.raises(ImageFileError, match=r"pipe\.png is a pipe; save the image in a file"):
            read(tmp_path / "pipe.png")


def test_indices_without_a_palette_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    PIL.Image.new("P", (8, 8)).save(path)
    content = path.read_bytes()
    assert b"PLTE" in content
    path.write_bytes(content.replace(b"PLTE", b"pLTE"))
    with pytest.raises(ImageFileError, match="damaged or cut short: no palette"):
        read_rgb(path)


def test_missing_files_folders_and_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    for read in (describe, read_rgb, read_numbers):
        for name, cause in (
            ("none.png", ": no such file"),
            (".", " is a folder; name an image file"),
            ("text.png", r" is not an image \(PNG, JPEG, .*\), or it is damaged; save it as PNG"),
            ("empty.png", r" is not an image \(PNG, JPEG, .*\), or it is damaged; save it as PNG"),
        ):
            with pytest.raises(ImageFileError, match=f"{cause}$"):
                read(tmp_path / name)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: PIL.Image.fromarray(COLOUR).save(path),
    "deep.png": lambda path: path.write_bytes(imagecodecs.png_encode(COLOUR.astype(np.uint16) * 200)),
    "a.jpg": lambda path: PIL.Image.fromarray(COLOUR).save(path, progressive=True),
    "a.webp": lambda path: PIL.Image.fromarray(COLOUR).save(path),
    "a.bmp": lambda path: PIL.Image.fromarray(COLOUR).save(path),
    "a.ppm": lambda path: PIL.Image.fromarray(COLOUR).save(path),
    "plain.tif": lambda path: tifffile.imwrite(path, COLOUR, photometric="rgb"),
    "lzw.tif": lambda path: tifffile.imwrite(path, COLOUR, photometric="rgb", compression="lzw", predictor=True),
    "jpeg.tif": lambda path: tifffile.imwrite(path, COLOUR, photometric="rgb", compression="jpeg"),
    "mask.tif": lambda path: tifffile.imwrite(path, GREY.astype(np.uint16), compression="zlib", tile=(16, 16)),
}


def read_all(path: Path) -> int:
    """Reads a file in every way; how many of them gave pixels."""
    given = 0
    for read in (describe, lambda path: read_rgb(path, allow_16_bits=True), read_numbers):
        try:
            read(path)
            given += 1
        except ImageFileError:
            pass
    return given


@pytest.mark.parametrize("copies", [40, pytest.param(1000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", list(WRITERS))
def test_damaged_files_give_pixels_or_one_error(tmp_path: Path, name: str, copies: int) -> None:
    path, rng = tmp_path / name, np.random.default_rng(len(name))
    WRITERS[name](path)
    content = path.read_bytes()
    for _ in range(copies):
        changed = bytearray(content)
        for place in rng.integers(0, len(changed), rng.integers(1, 8)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        read_all(path)


@pytest.mark.parametrize("name", list(WRITERS))
def test_files_cut_short_give_no_pixels(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    end = len(content) - (40 if name.endswith((".png", ".jpg", "lzw.tif", "jpeg.tif")) else 1)
    for length in np.linspace(0, end, 25).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ImageFileError):
            read_rgb(path, allow_16_bits=True)
