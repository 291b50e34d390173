import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi_tiling import Image as Pixels
from wsi_tiling import SlideError, TissueRule, find_tiles, open_slide, slide_identity


def test_copies_have_one_identity_and_other_slides_another(tiled_tiff: Path, picture: Pixels, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy.tif", tmp_path / "other.tif"
    copy.write_bytes(tiled_tiff.read_bytes())
    changed = picture.copy()
    changed[0, 0] ^= 1
    tifffile.imwrite(other, changed, tile=(128, 128), photometric="rgb")
    assert slide_identity(copy) == slide_identity(str(tiled_tiff))
    assert slide_identity(copy).startswith("quickhash-1:700x500:")
    assert slide_identity(other) != slide_identity(copy)
    os.utime(other, ns=(1, 1))
    other.write_bytes(tiled_tiff.read_bytes())  # a file that has changed is read again
    assert slide_identity(other) == slide_identity(copy)


def test_pictures_are_known_by_all_their_bytes(picture: Pixels, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    Image.fromarray(picture).save(one)
    Image.fromarray(255 - picture).save(other)
    assert slide_identity(one).startswith(f"sha256:{one.stat().st_size}:")
    assert slide_identity(one) != slide_identity(other)
    with pytest.raises(SlideError, match=r"none.png: no such file"):
        slide_identity(tmp_path / "none.png")


def test_large_files_are_known_by_pieces_from_begin_to_end(tmp_path: Path) -> None:
    path, identities = tmp_path / "large.raw", []
    size = 80 * 2**20
    for place in (None, 0, size // 2, size - 1):
        with path.open("wb") as file:
            file.truncate(size)  # sparse
            if place is not None:
                file.seek(place)
                file.write(b"x")
        identities.append(slide_identity(path))
    assert identities[1] != identities[0] != identities[3]
    assert len(set(identities)) >= 3


def test_a_damaged_slide_has_an_identity_too(tiled_tiff: Path) -> None:
    whole = tiled_tiff.read_bytes()
    tiled_tiff.write_bytes(whole[: len(whole) // 2])
    assert slide_identity(tiled_tiff).startswith("sha256:")


def test_tile_tables_hold_the_identity(tiled_tiff: Path, picture: Pixels) -> None:
    with open_slide(tiled_tiff) as slide:
        table = find_tiles([slide], field_l0=128, rule=TissueRule.everything())
    assert set(table.frame["slide_id"]) == {slide_identity(tiled_tiff)}
    assert np.isfinite(table.frame["tissue"]).all()
