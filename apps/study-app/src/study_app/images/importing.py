"""Import of images from two folders, real and synthetic, into a study."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from pfid import Images, folder_images, open_picture
from run_folder import UsageError
from study_app.database import Database, StoredCropPlan, StudyKind
from study_app.images.pictures import prepare
from study_app.images.storing import Outcome, importing_alone, store
from study_app.studies import study_named

AT_A_TIME = 32
"""Number of images stored at a time; at most so many are read again after a killed import."""
REAL = "real"


@dataclass(frozen=True)
class ImportRequest:
    """A request to import images.

    Args:
        study: Name of the study, a draft.
        real: Folder of real images, with its subfolders.
        synthetic: Folder of synthetic images, with its subfolders.
        version: Version of the model that generated them.
        min_tissue: Smallest share of tissue in a picture; pictures with less, mostly white, are skipped.

    Raises:
        UsageError: The version or the share is invalid.
        ImageError: A folder has no images, or unreadable ones.
    """

    study: str
    real: Path
    synthetic: Path
    version: str
    min_tissue: float = 0.0
    sides: dict[str, Images] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_version(self.version)
        check_share(self.min_tissue)
        object.__setattr__(self, "sides", {REAL: folder_images(self.real), self.version: folder_images(self.synthetic)})


@dataclass(frozen=True)
class Imported:
    """Progress of an import.

    Attributes:
        side: 'real', or the version of the model.
        outcome: Outcome of the last image or pair of crops; None while a slide is cut.
        done: Number of images processed, of pairs of crops stored, or of tiles of slides cut.
        total: Number of these in the whole import.
    """

    side: str
    outcome: Outcome | None
    done: int
    total: int


def import_images(database: Database, images: Path, request: ImportRequest) -> Iterator[Imported]:
    """Imports images and yields the outcome of each; after an interruption the same call continues.

    Both sides are processed alike: the middle square, one size, one encoder, no metadata. An image is identified by the
    pixels that readers will see.

    Args:
        database: Database of the study.
        images: Folder of the images of all studies.
        request: Images to import.

    Raises:
        UsageError: The study is not a draft of pictures, images are smaller than its pictures, or see `store` and
            `importing_alone`.
        ImageError: An image is damaged.
    """
    with database.reading() as session:
        study = study_named(session, request.study)
        planned = session.scalar(select(StoredCropPlan.id).where(StoredCropPlan.study_id == study.id).limit(1))
    if study.kind is StudyKind.SLIDES or planned is not None:
        shown = "whole slides" if study.kind is StudyKind.SLIDES else "crops of slides"
        raise UsageError(f"the study '{study.name}' shows {shown}, and no images of folders")
    check_sizes(request, study.size_px)
    done, total = 0, sum(len(side.names) for side in request.sides.values())
    with importing_alone(images, study):
        for side, folder in request.sides.items():
            files = list(zip(folder.names, folder.places, strict=True))
            for start in range(0, len(files), AT_A_TIME):
                pictures = [
                    prepare(open_picture(path).pixels, study.size_px, name=name, version=None if side == REAL else side)
                    for name, path in files[start : start + AT_A_TIME]
                ]
                for outcome in store(database, images, study, pictures, min_tissue=request.min_tissue):
                    done += 1
                    yield Imported(side, outcome, done, total)


def check_version(version: str) -> None:
    """Raises UsageError unless this can be the name of a version of a model."""
    if not version.strip() or not version.isprintable() or len(version) > 64 or version == REAL:
        raise UsageError(f"{version!r} cannot be a version: wanted 1 to 64 printable characters, and not '{REAL}'")


def check_share(min_tissue: float) -> None:
    """Raises UsageError unless this can be a share of tissue."""
    if not 0 <= min_tissue <= 1:
        raise UsageError(f"a share of tissue of {min_tissue}: it lies between 0 and 1")


def side_notes(request: ImportRequest) -> list[str]:
    """Differences between the files of the two sides that readers might see, for administrators."""
    notes = []
    lossy = {side: folder.jpeg_share for side, folder in request.sides.items()}
    if len(set(lossy.values())) > 1:
        shares = ", ".join(f"{share:.0%} of {side}" for side, share in lossy.items())
        notes.append(f"JPEG files: {shares}. Readers may tell the sides by what compression left")
    shorter = {side: [min(size) for size in folder.sizes] for side, folder in request.sides.items()}
    ranges = {side: (min(sizes), max(sizes)) for side, sizes in shorter.items()}
    if len(set(ranges.values())) > 1:
        spans = ", ".join(f"{low} to {high} px of {side}" for side, (low, high) in ranges.items())
        notes.append(f"shorter sides: {spans}. Readers may tell the sides by their sharpness or magnification")
    return [*notes, *(f"{side}: {note}" for side, folder in request.sides.items() for note in folder.notes)]


def check_sizes(request: ImportRequest, size_px: int) -> None:
    """Raises UsageError if images are smaller than the pictures of a study."""
    small = [
        f"{side}/{name}, {width} x {height}"
        for side, folder in request.sides.items()
        for name, (width, height) in zip(folder.names, folder.sizes, strict=True)
        if min(width, height) < size_px
    ]
    if small:
        raise UsageError(
            f"{len(small)} images are smaller than the {size_px} px of the study's pictures, the first is {small[0]}: "
            "enlarged, they would give themselves away"
        )
