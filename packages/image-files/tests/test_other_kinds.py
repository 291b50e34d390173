"""Kinds of PNM, JPEG, WebP and BMP files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from image_files import ImageFileError, describe, read_numbers, read_rgb

HEIGHT, WIDTH = 35, 50


@pytest.mark.parametrize("white", [1, 3, 100, 255, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_kinds_of_pnm(tmp_path: Path, kind: bytes, white: int, colours_of: Callable[..., Any]) -> None:
    shape = (HEIGHT, WIDTH, 3) if kind in (b"P3", b"P6") else (HEIGHT, WIDTH)
    samples = np.random.default_rng(white).integers(0, white + 1, shape)
    if kind in (b"P2", b"P3"):
        data = " ".join(map(str, samples.ravel())).encode()
    else:
        data = samples.astype(">u2" if white > 255 else np.uint8).tobytes()
    path = tmp_path / "image.ppm"
    path.write_bytes(b"%b\n# a comment\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, white) + data)
    if white in (255, 65535) or white < 255:
        assert np.abs(read_rgb(path, allow_16_bits=True) - colours_of(samples, white)).max() <= 0.5
    if white > 255:
        with pytest.raises(ImageFileError, match=f"got {white.bit_length()}; convert it first"):
            read_rgb(path, allow_16_bits=white == 4095)
    if len(shape) == 2:
        np.testing.assert_array_equal(read_numbers(path), samples)


@pytest.mark.parametrize("kind", [b"P1", b"P4"])
def test_bitmaps(tmp_path: Path, kind: bytes) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    rows = "\n".join("".join(map(str, row)) for row in bits).encode()
    data = rows if kind == b"P1" else np.packbits(bits, axis=1).tobytes()
    path = tmp_path / "image.pbm"
    path.write_bytes(b"%b %d %d\n" % (kind, WIDTH, HEIGHT) + data)
    np.testing.assert_array_equal(read_numbers(path), bits)
    np.testing.assert_array_equal(read_rgb(path)[..., 1], 255 - 255 * bits)


@pytest.mark.parametrize(
    ("container", "mode"),
    [
        *(("JPEG", mode) for mode in ("L", "RGB")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA", "P")),
        *(("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    ],
)
def test_what_pillow_writes_is_read_as_pillow_reads_it(tmp_path: Path, container: str, mode: str) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    path = tmp_path / "image"
    PIL.Image.fromarray(colours, "RGBA").convert(mode).save(path, container)
    with PIL.Image.open(path) as opened:
        expected = opened.convert("RGBA")
    expected = PIL.Image.alpha_composite(PIL.Image.new("RGBA", expected.size, "white"), expected).convert("RGB")
    assert np.abs(read_rgb(path).astype(int) - np.asarray(expected)).max() <= (0 if "A" not in mode else 1)
    assert describe(path).size_px == (WIDTH, HEIGHT)
    if container == "BMP" and mode == "P":
        with PIL.Image.open(path) as opened:
            np.testing.assert_array_equal(read_numbers(path), np.asarray(opened))


@pytest.mark.parametrize(
    ("container", "mode", "cause"),
    [
        ("JPEG", "CMYK", "wanted RGB or grey, got CMYK; convert it to RGB first"),
        ("TIFF", "CMYK", "wanted RGB or grey, got CMYK; convert it to RGB first"),
        ("TIFF", "LAB", "wanted RGB or grey, got CIELAB; convert it to RGB first"),
        ("TIFF", "F", "wanted 8 bits a channel, got 32; convert it first"),
        ("GIF", "P", "is not an image"),
    ],
)
def test_what_is_not_rgb_is_refused(tmp_path: Path, container: str, mode: str, cause: str) -> None:
    PIL.Image.new(mode, (8, 8)).save(tmp_path / "image.png", container)
    for read in (describe, read_rgb):
        with pytest.raises(ImageFileError, match=rf"image\.png:? {cause}"):
            read(tmp_path / "image.png")


def test_numbers_are_not_read_from_lossy_files(tmp_path: Path) -> None:
    grey = PIL.Image.fromarray(np.zeros((8, 8), np.uint8))
    for container in ("JPEG", "WEBP"):
        grey.save(tmp_path / "mask", container)
        with pytest.raises(ImageFileError, match="whose compression changes them; save a PNG"):
            read_numbers(tmp_path / "mask")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "mask", "BMP")
    with pytest.raises(ImageFileError, match="wanted label numbers, one channel, got RGB"):
        read_numbers(tmp_path / "mask")
    tifffile.imwrite(tmp_path / "mask.tif", np.zeros((16, 16), np.uint8), compression="jpeg")
    with pytest.raises(ImageFileError, match="JPEG compression changes label numbers; save them without loss"):
        read_numbers(tmp_path / "mask.tif")
