"""Damaged and hostile files give pixels or a SlideError: no other exception, no crash, no hang, no flood of memory."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage

from wsi_tiling import Image, PyramidWriter, SlideError, open_slide

pytestmark = pytest.mark.once

FUZZING = Path(__file__).with_name("fuzzing.py")
each_copies = pytest.mark.parametrize("copies", [20, pytest.param(60, marks=pytest.mark.thorough)])


def pyramid(path: Path, picture: Image, *, quality: int | None, objective: float | None = None) -> None:
    size = (picture.shape[1], picture.shape[0])
    with PyramidWriter(path, size, mpp=0.5, tile_px=128, quality=quality, objective=objective) as writer:
        writer.write((0, 0), picture)


def ome(path: Path, picture: Image) -> None:
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "predictor": True}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(picture, subifds=1, metadata={"axes": "YXS", "PhysicalSizeX": 0.5}, **options)
        tiff.write(picture[::2, ::2], subfiletype=1, **options)


def big(path: Path, picture: Image) -> None:
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "lzw", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(picture, description="Aperio Image Library\r\n320x240|AppMag = 20|MPP = 0.5", **options)
        tiff.write(picture[::2, ::2], **options)


WRITERS: dict[str, Callable[[Path, Image], None]] = {
    "aperio-jpeg.svs": lambda path, picture: pyramid(path, picture, quality=80, objective=20),
    "aperio-exact.svs": lambda path, picture: pyramid(path, picture, quality=None, objective=20),
    "aperio-big.svs": big,
    "jpeg.tif": lambda path, picture: pyramid(path, picture, quality=80),
    "exact.tif": lambda path, picture: pyramid(path, picture, quality=None),
    "slide.ome.tif": ome,
    "strips.tif": lambda path, picture: tifffile.imwrite(path, picture, photometric="rgb", compression="lzw"),
    "j2k.tif": lambda path, picture: tifffile.imwrite(path, picture, tile=(64, 64), compression="jpeg2000"),
    "webp.tif": lambda path, picture: tifffile.imwrite(path, picture, tile=(64, 64), compression="webp"),
    "colour.png": lambda path, picture: PilImage.fromarray(picture).save(path),
    "palette.png": lambda path, picture: PilImage.fromarray(picture).quantize(64).save(path),
    "baseline.jpg": lambda path, picture: PilImage.fromarray(picture).save(path),
    "progressive.jpg": lambda path, picture: PilImage.fromarray(picture).save(path, progressive=True),
}


def fuzz(folder: Path, scratch: Path, copies: int) -> dict[str, tuple[int, int]]:
    """How many copies of each slide gave pixels and how many an error."""
    scratch.mkdir()
    command = [sys.executable, "-W", "error", str(FUZZING), str(folder), str(scratch), "1", str(copies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak = done.stdout.splitlines()
    assert int(peak) < 600
    return {name: (int(pixels), int(errors)) for name, pixels, errors in map(str.split, lines)}


@each_copies
def test_damaged_copies_give_pixels_or_one_line(tmp_path: Path, picture: Image, copies: int) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, write in WRITERS.items():
        write(folder / name, np.ascontiguousarray(picture[:240, :320]))
    told = fuzz(folder, tmp_path / "scratch", copies)
    assert told.keys() == WRITERS.keys()
    for name, (pixels, errors) in told.items():
        assert pixels + errors == copies
        assert errors > copies // 10, name


@pytest.mark.real_data
@each_copies
def test_damaged_copies_of_a_real_slide_give_pixels_or_one_line(real_data: Path, tmp_path: Path, copies: int) -> None:
    content = (real_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, length in (("whole.svs", len(content)), ("first.svs", 2**20)):
        (folder / name).write_bytes(content[:length])
    assert sum(map(sum, fuzz(folder, tmp_path / "scratch", copies).values())) == 2 * copies


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_cut_at_any_length_gives_one_line(tmp_path: Path, picture: Image, name: str) -> None:
    WRITERS[name](tmp_path / name, np.ascontiguousarray(picture[:240, :320]))
    content = (tmp_path / name).read_bytes()
    cut = tmp_path / f"cut{name[name.index('.') :]}"
    for length in [*range(12), *np.linspace(12, len(content) - 40, 40).astype(int)]:
        cut.write_bytes(content[:length])
        with pytest.raises(SlideError, match=r"cut\..*"), open_slide(cut) as slide:
            slide.read((0, 0), slide.size_l0, slide.size_l0)


def png_of_zeros(width: int, height: int) -> bytes:
    """A well-formed PNG header, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_that_claims(width: int, height: int, side: int = 64) -> bytes:
    """A small JPEG stream whose header says that it is large."""
    content = bytearray(imagecodecs.jpeg8_encode(np.full((side, side, 3), 90, np.uint8), level=80))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_picture_that_claims_too_much_is_refused_unread(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_zeros(side, side))
    (tmp_path / "bomb.jpg").write_bytes(jpeg_that_claims(side, side))
    for name in ("bomb.png", "bomb.jpg"):
        with pytest.raises(SlideError, match=rf"{name}: wanted an image of at most 134 million px"):
            open_slide(tmp_path / name)


def test_a_jpeg_of_countless_scans_is_refused(tmp_path: Path, picture: Image) -> None:
    PilImage.fromarray(picture).save(tmp_path / "scans.jpg", progressive=True)
    content = (tmp_path / "scans.jpg").read_bytes()
    last = content.rindex(b"\xff\xda")
    (tmp_path / "scans.jpg").write_bytes(content[:-2] + content[last:-2] * 1000 + b"\xff\xd9")
    with pytest.raises(SlideError, match="more than 100 scans"):
        open_slide(tmp_path / "scans.jpg")


RGB = {258: (3, [8, 8, 8]), 262: (3, [2]), 277: (3, [3])}


def tiff(*directories: dict[int, tuple[int, list[int]]], data: bytes = b"", following: int | None = None) -> bytes:
    """A classic TIFF file: `data` from byte 8 on, then directories of tags; each leads to the next.

    Args:
        directories: Tag to kind (3 for 16, 4 for 32 bits) and values.
        data: Bytes for tags to point at.
        following: What the last directory leads to: nothing, or the directory of this number.
    """
    content, starts, ends = bytearray(b"II*\0\0\0\0\0" + data), [], []
    for directory in directories:
        values: dict[int, bytes] = {}
        for tag, (kind, numbers) in directory.items():
            packed = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
            if len(packed) > 4:
                packed, at = struct.pack("<I", len(content)), packed
                content += at
            values[tag] = packed.ljust(4, b"\0")
        starts.append(len(content))
        content += struct.pack("<H", len(directory))
        for tag in sorted(directory):
            kind, numbers = directory[tag]
            content += struct.pack("<HHI", tag, kind, len(numbers)) + values[tag]
        ends.append(len(content))
        content += bytes(4)
    targets = [*starts, 0 if following is None else starts[following]]
    for place, target in zip([4, *ends], targets, strict=True):
        content[place : place + 4] = struct.pack("<I", target)
    return bytes(content)


def tiled(width: int, height: int, tile: int, compression: int, data: bytes, **more: int) -> bytes:
    """A TIFF file all of whose tiles are the same bytes."""
    count = -(-width // tile) * -(-height // tile)
    layout = {256: (4, [width]), 257: (4, [height]), 259: (3, [compression]), 322: (4, [tile]), 323: (4, [tile])}
    places = {324: (4, [8] * count), 325: (4, [len(data)] * count)}
    return tiff(RGB | layout | places | {int(tag[1:]): (3, [value]) for tag, value in more.items()}, data=data)


def striped(width: int, height: int, rows: int, compression: int, data: bytes) -> bytes:
    count = -(-height // rows)
    layout = {256: (4, [width]), 257: (4, [height]), 259: (3, [compression]), 278: (4, [rows])}
    return tiff(RGB | layout | {273: (4, [8] * count), 279: (4, [len(data)] * count)}, data=data)


ZEROS = zlib.compress(bytes(3 * 64 * 64))
FLOOD = zlib.compress(bytes(2**28))
GOOD = {256: (4, [64]), 257: (4, [64]), 259: (3, [8]), 322: (4, [64]), 323: (4, [64])} | {
    324: (4, [8]),
    325: (4, [len(ZEROS)]),
}
HOSTILE: dict[str, bytes] = {
    "one strip of 60000 x 60000 px": striped(60_000, 60_000, 60_000, 8, FLOOD),
    "no strip for 60000 rows": striped(60_000, 60_000, 2**31, 1, b"\0" * 100),
    "tiles of 60000 x 60000 px": tiled(60_000, 60_000, 60_000, 8, FLOOD),
    "JPEG tiles of 60000 x 60000 px": tiled(60_000, 60_000, 60_000, 7, jpeg_that_claims(60_000, 60_000), t262=6),
    "tiles of 60000 x 60000 px in ink": tiled(60_000, 60_000, 60_000, 8, FLOOD, t262=5),
    "JPEG tiles of 60000 x 60000 px in tiles of 64": tiled(256, 256, 64, 7, jpeg_that_claims(60_000, 60_000), t262=6),
    "a picture of 2^31 x 2^31 px": tiff(RGB | GOOD | {256: (4, [2**31]), 257: (4, [2**31])}, data=ZEROS),
    "a picture of no width": tiff(RGB | GOOD | {256: (4, [0])}, data=ZEROS),
    "tiles of no width": tiff(RGB | GOOD | {322: (4, [0])}, data=ZEROS),
    "no tiles": tiff(RGB | GOOD | {324: (4, []), 325: (4, [])}, data=ZEROS),
    "tiles past the end": tiff(RGB | GOOD | {324: (4, [10**9])}, data=ZEROS),
    "65000 samples a pixel": tiff(RGB | GOOD | {277: (3, [65_000])}, data=ZEROS),
    "a chain in a circle": tiff(RGB | GOOD, RGB | GOOD, RGB | GOOD, data=ZEROS, following=0),
    "a chain onto itself": tiff(RGB | GOOD, data=ZEROS, following=0),
    "a chain of 5000": tiff(*[RGB | GOOD] * 5000, data=ZEROS),
    "2000 tags": tiff(RGB | GOOD | {40_000 + tag: (3, [1]) for tag in range(2000)}, data=ZEROS),
}


def with_count(content: bytes, tag: int, count: int) -> bytes:
    """Changes the number of values of a tag."""
    place = content.rindex(struct.pack("<HH", tag, 4)) + 4
    return content[:place] + struct.pack("<I", count) + content[place + 4 :]


HOSTILE |= {
    f"4 billion values of tag {tag}": with_count(tiff(RGB | GOOD | {330: (4, [8, 8])}, data=ZEROS), tag, 2**32 - 1)
    for tag in (256, 324, 325, 330)
}


@pytest.fixture(scope="module")
def reader() -> str:
    """Opens and reads each file named, in a process with 2 GiB to spare; prints what it is told."""
    return (
        "import importlib.util, sys; from pathlib import Path\n"
        f"spec = importlib.util.spec_from_file_location('fuzzing', {str(FUZZING)!r})\n"
        "fuzzing = importlib.util.module_from_spec(spec); spec.loader.exec_module(fuzzing); fuzzing.limit_memory()\n"
        "before = fuzzing.peak_mib()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: fuzzing.read_here_and_there(path); print(path.name, 'pixels')\n"
        "    except fuzzing.SlideError as error: print(path.name, 'error', error)\n"
        "print(fuzzing.peak_mib() - before)\n"
    )


def test_hostile_tiff_files_are_refused_before_memory_is_taken(tmp_path: Path, reader: str) -> None:
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / f"{number:02}.tif").write_bytes(content)
    command = [sys.executable, "-W", "error", "-c", reader, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *told, grown = done.stdout.splitlines()
    refused = {name: line.split()[1] == "error" for name, line in zip(HOSTILE, told, strict=True)}
    assert all(refused.values()), refused
    assert int(grown) < 100


def test_a_tile_that_would_inflate_without_end_is_stopped(tmp_path: Path, reader: str) -> None:
    """More than a tile holds is left: some writers pad. But not a byte more of it is decoded."""
    floods = {"deflate": (8, FLOOD), "zstd": (50_000, imagecodecs.zstd_encode(bytes(2**28)))}
    floods |= {"lzw": (5, imagecodecs.lzw_encode(bytes(2**26))), "packbits": (32_773, b"\x81\0" * 2**21)}
    webp = imagecodecs.webp_encode(np.zeros((8000, 8000, 3), np.uint8))
    for name, (compression, data) in (floods | {"webp": (50_001, webp)}).items():
        (tmp_path / f"{name}.tif").write_bytes(tiled(128, 128, 64, compression, data))
    command = [sys.executable, "-W", "error", "-c", reader, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *told, grown = done.stdout.splitlines()
    assert len(told) == 5
    assert int(grown) < 100


def test_a_link_to_a_directory_below_that_is_itself_is_no_level(tmp_path: Path) -> None:
    content = tiff(RGB | GOOD | {330: (4, [8])}, data=ZEROS)
    start = struct.unpack("<I", content[4:8])[0]
    place = content.rindex(struct.pack("<HH", 330, 4)) + 8
    (tmp_path / "loop.tif").write_bytes(content[:place] + struct.pack("<I", start) + content[place + 4 :])
    with open_slide(tmp_path / "loop.tif") as slide:
        assert slide.levels == ((64, 64),)
        assert (slide.read((0, 0), 64, 64) == 0).all()


@pytest.mark.parametrize("damage", ["encoding='TTF-8'", "encoding='utf-32'", "encoding='UTF-8' oops"])
def test_damaged_xml_is_told(tmp_path: Path, damage: str) -> None:
    description = f'<?xml version="1.0" {damage}?><OME><Pixels SizeC="three"/></OME>'
    tifffile.imwrite(
        tmp_path / "slide.ome.tif", np.zeros((64, 64, 3), np.uint8), tile=(64, 64), description=description
    )
    with pytest.raises(SlideError, match="OME description is damaged"):
        open_slide(tmp_path / "slide.ome.tif")


def test_xml_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a0 "ha">{lines}]><OME><Pixels SizeC="3">&a11;</Pixels></OME>'
    tifffile.imwrite(tmp_path / "bomb.ome.tif", np.zeros((64, 64, 3), np.uint8), tile=(64, 64), description=bomb)
    with pytest.raises(SlideError, match="OME description is damaged"):
        open_slide(tmp_path / "bomb.ome.tif")
