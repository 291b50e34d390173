from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi_tiling import SlideError, open_labels, read_labels

LABELS = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50


@pytest.mark.parametrize("name", ["labels.png", "labels.tif", "deflated.tif"])
def test_labels_of_16_bits_come_back_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".png":
        Image.fromarray(LABELS).save(path)
    else:
        tifffile.imwrite(path, LABELS, compression="zlib" if "deflated" in name else None)
    labels = open_labels(path)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, LABELS)


def test_labels_may_be_a_palette_s_or_black_and_white(tmp_path: Path) -> None:
    indices = (LABELS % 3).astype(np.uint8)
    palette = Image.fromarray(indices).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata(indices.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(open_labels(tmp_path / "palette.png"), indices)
    Image.fromarray(indices > 0).save(tmp_path / "binary.png")
    np.testing.assert_array_equal(open_labels(tmp_path / "binary.png"), indices > 0)


def test_labels_of_fiji_are_read_as_they_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "fiji.tif", LABELS, imagej=True, byteorder=">")
    labels = open_labels(tmp_path / "fiji.tif")
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, LABELS)


def test_labels_are_not_inverted_and_lie_as_their_slide_does(tmp_path: Path) -> None:
    small = (LABELS % 250).astype(np.uint8)
    tifffile.imwrite(tmp_path / "inverted.tif", small, photometric="miniswhite")
    np.testing.assert_array_equal(open_labels(tmp_path / "inverted.tif"), small)
    tifffile.imwrite(tmp_path / "turned.tif", small, extratags=[(274, 3, 1, 3, True)])
    np.testing.assert_array_equal(open_labels(tmp_path / "turned.tif"), small[::-1, ::-1])


def test_labels_of_1_bit_are_read_and_those_of_32_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "binary.tif", LABELS > 5000)
    np.testing.assert_array_equal(open_labels(tmp_path / "binary.tif"), LABELS > 5000)
    tifffile.imwrite(tmp_path / "deep.tif", LABELS.astype(np.uint32))
    with pytest.raises(SlideError, match="wanted labels of 8 or 16 bits, got uint32: save them with fewer bits"):
        open_labels(tmp_path / "deep.tif")


def test_a_field_is_never_interpolated_and_zero_outside() -> None:
    np.testing.assert_array_equal(read_labels(LABELS, (3, 5), 20, 20), LABELS[5:25, 3:23])
    enlarged = read_labels(LABELS, (3, 5), (4, 2), (12, 6))
    np.testing.assert_array_equal(enlarged, LABELS[5:7, 3:7].repeat(3, axis=0).repeat(3, axis=1))
    reduced = read_labels(LABELS, (0, 0), 30, 10)
    np.testing.assert_array_equal(reduced, LABELS[1:30:3, 1:30:3])
    outside = read_labels(LABELS, (-2, 28), 4, 4)
    np.testing.assert_array_equal(outside[:2, 2:], LABELS[28:, :2])
    assert not outside[:, :2].any()
    assert not outside[2:].any()


def test_what_are_no_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, text, half = tmp_path / "rgb.png", tmp_path / "text.png", tmp_path / "half.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(rgb)
    text.write_text("no labels")
    Image.fromarray(LABELS).save(half)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (tmp_path / "text.tif").write_text("no labels")
    for path in (rgb, text, half, tmp_path / "text.tif", tmp_path / "none.png"):
        with pytest.raises(SlideError, match=path.name):
            open_labels(path)
    Image.fromarray(LABELS).save(half)
    monkeypatch.setattr("wsi_tiling.reading.labels.MAX_LABELS_PX", 1000)
    with pytest.raises(SlideError, match="40 x 30 px"):
        open_labels(half)
