"""The KUMAR images: 30 of 1,000 x 1,000 px from seven organs, each nucleus outlined."""

from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from pathlib import Path

from image_files import ImageFileError, list_images, paths_by_stem
from maskcond.annotations.annotated_images import AnnotatedImages, ImageRecord
from maskcond.conditions import KUMAR_CONDITIONS
from maskcond.errors import ConditionError, ImageSetError
from run_folder import TableError, read_table

_COLUMNS = ("image", "split", "organ", "disease")
_HASH = "pixels_sha256_16"


def read_kumar(folder: str | Path) -> AnnotatedImages:
    """Opens the KUMAR images, with the split that the literature uses: 'train' (16), 'seen' (8), 'unseen' (6).

    The folder has one of two forms:

    - as published: `Tissue Images/NAME.tif` and `Annotations/NAME.xml`, of all 30 images or of some;
    - with an index: `images/NAME.png`, `instances/NAME.png` and `index.csv` with the columns image, split, organ,
      disease and, if the pixels are to be checked, pixels_sha256_16: the first 16 hex digits of the SHA-256 of the RGB
      bytes.

    Every image is read once, to check that no test image is also a training image.

    Raises:
        ImageSetError: The folder has neither form; images, masks and index do not pair; an organ or disease is unknown;
            the pixels of an image differ from the index; or a test image is a training image too.

    Source: Kumar et al. 2017, 'A dataset and a technique for generalized nuclear segmentation for computational
    pathology'; the split of Graham et al. 2019, 'HoVer-Net'.
    """
    folder = Path(folder)
    if (index := folder / "index.csv").is_file():
        rows = _rows(index)
        names = _paired(folder / "images", (".png",), folder / "instances", (".png",))
        _check_same(names, {row["image"] for row in rows}, index)
    elif (folder / "Tissue Images").is_dir():
        names = _paired(folder / "Tissue Images", (".tif", ".tiff"), folder / "Annotations", (".xml",))
        with as_file(files("maskcond") / "kumar.csv") as published:
            rows = [row for row in _rows(published) if row["image"] in names]
        if strange := sorted(names.keys() - {row["image"] for row in rows}):
            raise ImageSetError(f"{folder}: {_listed(strange)}: not images of KUMAR; remove them")
    else:
        raise ImageSetError(
            f"{folder}: wanted index.csv with images/ and instances/, or Tissue Images/ and Annotations/"
        )
    images = AnnotatedImages(
        ImageRecord(row["image"], *names[row["image"]], row["organ"], row["disease"], row["split"]) for row in rows
    )
    for row, digest in zip(rows, images.pixel_hashes, strict=True):
        if not digest.startswith(row.get(_HASH) or ""):
            raise ImageSetError(f"{names[row['image']][0]} has other pixels than {folder / 'index.csv'} says")
    images.check_no_leak()
    return images


def _rows(index: Path) -> list[Mapping[str, str]]:
    """The checked rows of an index, in order."""
    try:
        table = read_table(index, _COLUMNS)
        rows = table.by_key("image").values()
    except TableError as error:
        raise ImageSetError(str(error)) from None
    for row in rows:
        if missing := [column for column in _COLUMNS if not row[column]]:
            raise ImageSetError(f"{index}: line {row.line} has no {missing[0]}; fill it in")
        try:
            KUMAR_CONDITIONS.encode({"tissue": row["organ"], "disease": row["disease"]})
        except ConditionError as error:
            raise ImageSetError(f"{index}: line {row.line}: {error}") from None
    if not rows:
        raise ImageSetError(f"{index}: no image is listed; add a line for each image")
    return [row.values for row in rows]


def _paired(
    image_folder: Path, image_endings: tuple[str, ...], mask_folder: Path, mask_endings: tuple[str, ...]
) -> dict[str, tuple[Path, Path]]:
    """Paths of image and mask by name."""
    images, masks = _by_name(image_folder, image_endings), _by_name(mask_folder, mask_endings)
    if alone := sorted(images.keys() - masks.keys()):
        raise ImageSetError(f"{_listed(alone)}: no mask in {mask_folder}")
    if alone := sorted(masks.keys() - images.keys()):
        raise ImageSetError(f"{_listed(alone)}: no image in {image_folder}")
    if not images:
        raise ImageSetError(f"{image_folder}: no image in it (names ending in {' or '.join(image_endings)})")
    return {name: (images[name], masks[name]) for name in images}


def _by_name(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by their names without endings, in Unicode form NFC, as in tables."""
    try:
        return paths_by_stem(list_images(folder, endings).paths)
    except ImageFileError as error:
        raise ImageSetError(str(error)) from None


def _check_same(present: Iterable[str], listed: Iterable[str], index: Path) -> None:
    if alone := sorted(set(listed) - set(present)):
        raise ImageSetError(f"{index} lists {_listed(alone)}, which are not in images/")
    if alone := sorted(set(present) - set(listed)):
        raise ImageSetError(f"{index} does not list {_listed(alone)}, which are in images/")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
