"""DICOM slides, one file a level, as scanners write them. The files here hold what OpenSlide needs, and no more."""

import struct
from pathlib import Path
from typing import TypeAlias

import imagecodecs
import numpy as np
import pytest

from wsi_tiling import (
    Image,
    SlideSetAside,
    TileField,
    TileSettings,
    TissueRule,
    find_slides,
    open_slide,
    slide_files,
    tile_slides,
)

Value: TypeAlias = "str | bytes | int | float | list[Element]"
Element: TypeAlias = tuple[int, str, Value]
"""Tag, value representation, and value; for sequences, the elements of their one item."""
TILE_PX = 128
_LONG = ("OB", "SQ")
_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_JPEG = "1.2.840.10008.1.2.4.50"


def write_dicom_level(path: Path, image: Image, *, series: str, level: int, mpp: float) -> None:
    """Writes one level of a slide.

    Args:
        path: The file.
        image: The level, (H, W, 3) uint8.
        series: What the levels of one slide share: a dotted number.
        level: Its number, 0 for the largest.
        mpp: Micrometres a pixel of this level.
    """
    height, width = image.shape[:2]
    columns, rows = -(-width // TILE_PX), -(-height // TILE_PX)
    padded = np.full((rows * TILE_PX, columns * TILE_PX, 3), 255, np.uint8)
    padded[:height, :width] = image
    tiles = padded.reshape(rows, TILE_PX, columns, TILE_PX, 3).swapaxes(1, 2).reshape(-1, TILE_PX, TILE_PX, 3)
    frames = [
        bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), colorspace="RGB", outcolorspace="YCBCR"))
        for tile in tiles
    ]
    instance = f"{series}.{level + 1}"
    kind = "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED" if level else "ORIGINAL\\PRIMARY\\VOLUME\\NONE"
    elements: list[Element] = [
        (0x00080008, "CS", kind),
        (0x00080016, "UI", _WSI),
        (0x00080018, "UI", instance),
        (0x00080060, "CS", "SM"),
        (0x0020000D, "UI", f"{series}.1000"),
        (0x0020000E, "UI", series),
        (0x00200052, "UI", f"{series}.1001"),
        (0x00280002, "US", 3),
        (0x00280004, "CS", "YBR_FULL_422"),
        (0x00280006, "US", 0),
        (0x00280008, "IS", str(len(frames))),
        (0x00280010, "US", TILE_PX),
        (0x00280011, "US", TILE_PX),
        (0x00280100, "US", 8),
        (0x00280101, "US", 8),
        (0x00280102, "US", 7),
        (0x00280103, "US", 0),
        (0x00480006, "UL", width),
        (0x00480007, "UL", height),
        (0x00480303, "UL", 1),
        (0x00209311, "CS", "TILED_FULL"),
        (0x52009229, "SQ", [(0x00289110, "SQ", [(0x00280030, "DS", f"{mpp / 1000}\\{mpp / 1000}")])]),
    ]
    data = b"".join(_element(*element) for element in sorted(elements))
    meta = b"".join(
        _element(*element)
        for element in ((0x00020002, "UI", _WSI), (0x00020003, "UI", instance), (0x00020010, "UI", _JPEG))
    )
    path.write_bytes(bytes(128) + b"DICM" + _element(0x00020000, "UL", len(meta)) + meta + data + _pixels(frames))


def _element(tag: int, representation: str, value: Value) -> bytes:
    if isinstance(value, list):
        item = b"".join(_element(*each) for each in value)
        coded = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    elif isinstance(value, int):
        coded = struct.pack("<H" if representation == "US" else "<I", value)
    else:
        coded = str(value).encode() if not isinstance(value, bytes) else value
        coded += (b"\0" if representation == "UI" else b" ") * (len(coded) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, representation.encode())
    length = struct.pack("<HI", 0, len(coded)) if representation in _LONG else struct.pack("<H", len(coded))
    return head + length + coded


def _pixels(frames: list[bytes]) -> bytes:
    padded = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    items = [b"", *padded]  # the first is the table of offsets, which may be empty
    coded = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + coded + end


@pytest.fixture
def folder(tmp_path: Path, picture: Image) -> Path:
    """Two slides of two files each, and a DICOM file that is no slide."""
    folder = tmp_path / "dicom"
    folder.mkdir()
    for series, image in ((1, picture), (2, picture[::-1])):
        for level in range(2):
            path, step = folder / f"{series}-{level}.dcm", level + 1
            write_dicom_level(path, image[::step, ::step], series=f"1.2.{series}", level=level, mpp=0.5 * step)
    (folder / "report.dcm").write_text("not a slide")
    return folder


def test_any_file_opens_the_whole_slide(folder: Path, picture: Image) -> None:
    for level in range(2):
        with open_slide(folder / f"1-{level}.dcm") as slide:
            assert (slide.levels, slide.mpp) == (((700, 500), (350, 250)), 0.5)
            assert abs(slide.read((0, 0), (700, 500), (70, 50)).mean() - picture.mean()) < 5


def test_the_files_of_a_slide_are_tiled_as_one(folder: Path, tmp_path: Path) -> None:
    settings = TileSettings((TileField(128),), TissueRule.everything(), wanted_mpp=0.5)
    events = list(tile_slides(slide_files([f"{folder}/*.dcm"]), settings, tmp_path / "out"))
    set_aside = {event.path.name: event for event in events if isinstance(event, SlideSetAside)}
    assert {name: event.trouble for name, event in set_aside.items()} == {
        "1-1.dcm": "twice",
        "2-1.dcm": "twice",
        "report.dcm": "unreadable",
    }
    assert set_aside["1-1.dcm"].reason == f"{folder / '1-1.dcm'} is the same slide as {folder / '1-0.dcm'}"
    assert len(events) == 5


def test_a_folder_gives_one_file_of_each_slide(folder: Path) -> None:
    search = find_slides([folder])
    assert [path.name for path in search.slides] == ["1-0.dcm", "2-0.dcm"]
    assert {over.kind: over.count for over in search.passed_over} == {"dicom": 3}
