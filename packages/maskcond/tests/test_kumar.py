import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from maskcond import (
    AnnotationError,
    ImageSetError,
    MaskcondError,
    read_image,
    read_kumar,
    read_numbers,
    trace_outlines,
    write_outlines,
)

ROWS = [
    ("TCGA-18-5592-01Z-00-DX1", "train", "Liver", "Lung squamous cell carcinoma"),
    ("TCGA-21-5786-01Z-00-DX1", "seen", "Liver", "Lung squamous cell carcinoma"),
    ("TCGA-AY-A8YK-01A-01-TS1", "unseen", "Colon", "Colon adenocarcinoma"),
]
NAMES = [row[0] for row in ROWS]
TRAIN, SEEN, UNSEEN = NAMES
HEADER = b"image,split,organ,disease"


def picture_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)


def mask_of(number: int) -> np.ndarray:
    mask = np.zeros((24, 32), np.uint16)
    mask[2:8, 3:9] = 40
    mask[8:12, 3 + number : 15] = 700
    return mask


def write_index(folder: Path, rows: list[tuple[str, ...]], header: str = "image,split,organ,disease") -> None:
    lines = [header, *(",".join(row) for row in rows)]
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    folder = tmp_path / "indexed"
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        PIL.Image.fromarray(picture_of(number)).save(folder / "images" / f"{name}.png")
        PIL.Image.fromarray(mask_of(number)).save(folder / "instances" / f"{name}.png")
    write_index(folder, ROWS)
    return folder


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    for part in ("Tissue Images", "Annotations"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        PIL.Image.fromarray(picture_of(number)).save(folder / "Tissue Images" / f"{name}.tif")
        write_outlines(folder / "Annotations" / f"{name}.xml", trace_outlines(mask_of(number)))
    return folder


def test_both_forms_hold_the_same(indexed: Path, published: Path) -> None:
    for folder in (indexed, published):
        images = read_kumar(folder)
        assert [(i.name, i.split, i.tissue, i.disease) for i in images] == ROWS
        for number, image in enumerate(images):
            np.testing.assert_array_equal(image.image, picture_of(number))
            assert image.instances.dtype == np.int32
            np.testing.assert_array_equal(np.array([0, 40, 700])[image.instances], mask_of(number))


def test_splits_and_slices_are_sets_again(indexed: Path) -> None:
    images = read_kumar(indexed)
    assert [image.name for image in images.split("seen", "unseen")] == [SEEN, UNSEEN]
    assert [image.name for image in images[1:]] == [SEEN, UNSEEN]
    assert len(images.split("train")) == 1
    with pytest.raises(ImageSetError, match="no split 'test'; there are seen, train, unseen"):
        images.split("test")


@pytest.mark.real_data
def test_the_real_images_are_read_with_the_split_of_the_literature(kumar_folder: Path, tmp_path: Path) -> None:
    images = read_kumar(kumar_folder)
    assert {name: len(images.split(name)) for name in ("train", "seen", "unseen")} == {
        "train": 16,
        "seen": 8,
        "unseen": 6,
    }
    with (kumar_folder / "index.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    for image in images[::10]:
        assert image.image.shape == (1000, 1000, 3)
        assert image.instances.max() == int(rows[image.name]["n_nuclei"])
    # What the package itself knows of the published folders is what this index says.
    for part in ("Tissue Images", "Annotations"):
        (tmp_path / part).mkdir()
    for number, name in enumerate(rows):
        PIL.Image.fromarray(picture_of(number)).save(tmp_path / "Tissue Images" / f"{name}.tif")
        write_outlines(tmp_path / "Annotations" / f"{name}.xml", trace_outlines(mask_of(number % 8)))
    for record in read_kumar(tmp_path).records:
        row = rows[record.name]
        assert (record.split, record.tissue, record.disease) == (row["split"], row["organ"], row["disease"])


def test_a_test_image_found_in_training_is_refused(indexed: Path) -> None:
    # Saved as another file, with the same pixels.
    PIL.Image.fromarray(picture_of(0)).convert("RGBA").save(indexed / "images" / f"{UNSEEN}.png", compress_level=0)
    with pytest.raises(ImageSetError, match=rf"test image {UNSEEN} \(unseen\) has the same pixels as .* {TRAIN}"):
        read_kumar(indexed)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_an_index_may_come_from_a_spreadsheet(indexed: Path, encoding: str, separator: str) -> None:
    text = (indexed / "index.csv").read_text(encoding="utf-8").replace(",", separator).replace("\n", "\r\n")
    (indexed / "index.csv").write_bytes(text.encode(encoding))
    assert [(image.name, image.split, image.tissue, image.disease) for image in read_kumar(indexed)] == ROWS


def test_an_index_names_files_of_macos(indexed: Path) -> None:
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    for part, name in (("images", nfd), ("instances", nfc)):
        (indexed / part / f"{TRAIN}.png").rename(indexed / part / f"{name}.png")
    write_index(indexed, [(nfc, *ROWS[0][1:]), *ROWS[1:]])
    assert [image.name for image in read_kumar(indexed)] == [nfc, SEEN, UNSEEN]
    (indexed / "images" / f"{nfc}.png").write_bytes((indexed / "images" / f"{nfd}.png").read_bytes())
    with pytest.raises(ImageSetError, match=f"two files are called {nfc}"):
        read_kumar(indexed)


def test_pixels_are_compared_with_the_index(indexed: Path) -> None:
    hashes = [hashlib.sha256(picture_of(number).tobytes()).hexdigest()[:16] for number in range(3)]
    rows = [(*row, digest) for row, digest in zip(ROWS, hashes, strict=True)]
    write_index(indexed, rows, "image,split,organ,disease,pixels_sha256_16")
    assert len(read_kumar(indexed)) == 3
    write_index(indexed, [*rows[:2], (*ROWS[2], hashes[0])], "image,split,organ,disease,pixels_sha256_16")
    with pytest.raises(ImageSetError, match=rf"{UNSEEN}.png has other pixels than .*index.csv says"):
        read_kumar(indexed)


def replace_mask(mask: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: PIL.Image.fromarray(mask).save(folder / "instances" / f"{TRAIN}.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "instances" / f"{SEEN}.png").unlink(), rf"{SEEN}: no mask in .*instances"),
        (lambda f: (f / "images" / f"{SEEN}.png").unlink(), rf"{SEEN}: no image in .*images"),
        (lambda f: write_index(f, ROWS[:2]), rf"does not list {UNSEEN}"),
        (lambda f: write_index(f, [*ROWS, ("TCGA-XX", *ROWS[0][1:])]), "lists TCGA-XX, which are not in images/"),
        (lambda f: write_index(f, [*ROWS, ROWS[0]]), f"image {TRAIN} is given twice, in lines 2 and 5"),
        (lambda f: write_index(f, [(TRAIN, "train", "Lung", ROWS[0][3])]), "line 2: unknown tissue 'Lung'; did you"),
        (lambda f: write_index(f, [(*ROWS[0][:3], "flu")]), "line 2: unknown disease 'flu'; did you mean"),
        (lambda f: write_index(f, [row[:3] for row in ROWS], "image,split,organ"), "no column disease"),
        (lambda f: write_index(f, [(*ROWS[0][:3], "")]), "line 2 has no disease; fill it in"),
        (lambda f: (f / "index.csv").write_bytes(HEADER + b"\n\xfc,train,Liver,x\n"), "line 2 is not UTF-8"),
        (lambda f: (f / "index.csv").write_bytes(HEADER + b"\na,train,Liver\n"), "line 2 has 3, wanted 4"),
        (lambda f: write_index(f, []), "no image is listed"),
        (lambda f: (f / "images" / f"{SEEN}.png").write_bytes(b"\x89PNG"), rf"{SEEN}.png is not an image"),
        (lambda f: (f / "index.csv").unlink(), r"wanted index.csv with images/ and instances/, or Tissue Images/"),
        (replace_mask(mask_of(0)[:, :20]), "the mask is 20 x 24 px, its image 32 x 24 px"),
        (replace_mask(np.zeros((24, 32), np.uint16)), "the mask is empty"),
        (replace_mask(picture_of(0)), "wanted label numbers, one channel, got RGB; save the numbers themselves"),
    ],
)
def test_bad_sets_get_one_line(indexed: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(indexed)
    with pytest.raises(MaskcondError, match=message) as caught:
        list(read_kumar(indexed))
    assert "\n" not in str(caught.value)


def test_outlines_outside_their_image_are_refused(published: Path) -> None:
    far = np.zeros((90, 90), np.uint8)
    far[70:80, 70:80] = 1
    path = published / "Annotations" / f"{SEEN}.xml"
    write_outlines(path, trace_outlines(far))
    with pytest.raises(AnnotationError, match=rf"{SEEN}.xml: outline 1 lies outside the image of 32 x 24 px"):
        read_kumar(published)[1]
    write_outlines(path, [])
    with pytest.raises(ImageSetError, match=rf"{SEEN}.xml: the mask is empty"):
        read_kumar(published)[1]


def test_images_that_are_not_kumars_are_refused(published: Path) -> None:
    PIL.Image.fromarray(picture_of(9)).save(published / "Tissue Images" / "TCGA-XX.tif")
    write_outlines(published / "Annotations" / "TCGA-XX.xml", trace_outlines(mask_of(0)))
    with pytest.raises(ImageSetError, match="TCGA-XX: not images of KUMAR"):
        read_kumar(published)


def test_masks_with_one_number_for_all_nuclei_are_refused(indexed: Path) -> None:
    apart = np.zeros((24, 32), np.uint8)
    apart[2:6, 3:9] = apart[8:12, 3:15] = 1
    for number in (1, 255):
        replace_mask(apart * np.uint8(number))(indexed)
        with pytest.raises(ImageSetError, match=rf"{TRAIN}.png: wanted a number for each object, got {number} for all"):
            list(read_kumar(indexed))
    replace_mask((mask_of(0) == 700) * np.uint8(255))(indexed)  # one nucleus
    assert read_kumar(indexed)[0].instances.max() == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_masks_in_which_0_is_white_keep_their_numbers(indexed: Path, bits: int) -> None:
    mask = np.searchsorted([0, 40, 700], mask_of(0)).astype(f"u{bits // 8}")
    (indexed / "instances" / f"{TRAIN}.png").unlink()
    path = indexed / "instances" / f"{TRAIN}.tif"
    tifffile.imwrite(path, mask, photometric="miniswhite")
    np.testing.assert_array_equal(read_numbers(path), mask)


def test_grey_values_of_few_bits_are_numbers_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    PIL.Image.fromarray(np.array([[3, 7, 15]], np.uint8)).convert("P").save(path, bits=4)
    np.testing.assert_array_equal(read_numbers(path), [[3, 7, 15]])


def test_images_of_16_bits_are_refused_and_photos_are_turned_upright(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", picture_of(0).astype(np.uint16) << 4, photometric="rgb")
    with pytest.raises(ImageSetError, match="wanted 8 bits a channel, got 16; convert it first"):
        read_image(tmp_path / "deep.tif")
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(picture_of(0)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg").shape == (32, 24, 3)


def test_two_images_of_one_name_are_refused(published: Path) -> None:
    folder = published / "Tissue Images"
    (folder / f"{SEEN}.tiff").write_bytes((folder / f"{SEEN}.tif").read_bytes())
    with pytest.raises(ImageSetError, match=rf"two files are called {SEEN}: .*\.tif and .*\.tiff;"):
        read_kumar(published)
