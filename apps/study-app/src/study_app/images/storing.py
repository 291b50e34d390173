"""Storage of pictures: files first, then rows, so that every image in the database is on disk."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.database import CropPair, Database, Image, StoredCropPlan, Study, StudyState
from study_app.images.pictures import NewPicture
from study_app.outputs import whole_file
from study_app.stored_images.encoding import SUFFIX, encode
from study_app.stored_images.tiles import TILES_SUFFIX
from study_app.studies import study_named


class Outcome(StrEnum):
    """Outcome of storing an image."""

    NEW = "new"
    KNOWN = "known"
    """The image is in the study already, from an earlier import."""
    AGAIN = "again"
    """The image has the pixels of another one of its version."""
    WHITE = "white"
    """The image has too little tissue."""


@contextmanager
def importing_alone(images: Path, study: Study) -> Iterator[None]:
    """Prevents other imports into a draft, in this process and in others, because they would write the same files.

    Args:
        images: The folder of the images of all studies.
        study: The study.

    Raises:
        UsageError: Another import is running, or the study is no longer a draft.
    """
    _check_draft(study)
    (images / study.name).mkdir(parents=True, exist_ok=True)
    with (images / study.name / ".importing").open("w") as lock:  # the system releases it when a process is killed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"something is being imported into the study '{study.name}' already: wait until that has ended"
            ) from None
        yield


def store(
    database: Database, images: Path, study: Study, pictures: Sequence[NewPicture], *, min_tissue: float
) -> list[Outcome]:
    """Stores pictures of a draft, all or none; pictures that are in the study already do not change.

    Args:
        database: Database of the study.
        images: The folder of the images of all studies.
        study: The study.
        pictures: The pictures.
        min_tissue: Smallest share of tissue in a picture.

    Returns:
        The outcome of each picture.

    Raises:
        UsageError: The study is no longer a draft, or has a picture's pixels on the other side or in another version,
            or its name with other pixels.
    """
    for picture in pictures:
        if picture.tissue_share >= min_tissue:
            _write(images, study, picture)
    outcomes = []
    with _draft(database, study) as session:
        for picture in pictures:
            white = picture.tissue_share < min_tissue
            outcomes.append(Outcome.WHITE if white else _outcome(session, study, picture))
            if outcomes[-1] is Outcome.NEW:
                _add(session, study, picture, file_of(study, picture))
    return outcomes


def store_pair(
    database: Database,
    images: Path,
    study: Study,
    plan: StoredCropPlan,
    number: int,
    pair: tuple[NewPicture, NewPicture],
    *,
    min_tissue: float,
) -> Outcome:
    """Stores a pair of a real and a synthetic crop, both or none; see `store` for the errors.

    Args:
        database: Database of the study.
        images: The folder of the images of all studies.
        study: The study.
        plan: The plan of the crops.
        number: Number of the crop in the plan.
        pair: The real and the synthetic crop.
        min_tissue: Smallest share of tissue in either crop.
    """
    if min(picture.tissue_share for picture in pair) < min_tissue:
        return Outcome.WHITE
    with database.reading() as session:
        outcome = _outcome_of_pair(session, study, pair)
    if outcome is not Outcome.NEW:
        return outcome
    for picture in pair:
        _write(images, study, picture)
    with _draft(database, study) as session:
        outcome = _outcome_of_pair(session, study, pair)
        if outcome is Outcome.NEW:
            real, synthetic = (_add(session, study, picture, file_of(study, picture)) for picture in pair)
            session.add(
                CropPair(plan_id=plan.id, number=number, real_image_id=real.id, synthetic_image_id=synthetic.id)
            )
    return outcome


def store_slide(database: Database, study: Study, slide: NewPicture) -> Outcome:
    """Stores a slide, whose file of tiles exists already; see `store` for the errors."""
    with _draft(database, study) as session:
        outcome = _outcome(session, study, slide)
        if outcome is Outcome.NEW:
            _add(session, study, slide, file_of(study, slide, TILES_SUFFIX))
    return outcome


def outcome_of(database: Database, study: Study, picture: NewPicture) -> Outcome:
    """The outcome if an image were stored now."""
    with database.reading() as session:
        return _outcome(session, study, picture)


def file_of(study: Study, picture: NewPicture, suffix: str = SUFFIX) -> str:
    """Path of an image's file below the folder of images."""
    return f"{study.name}/{picture.sha256}{suffix}"


def _write(images: Path, study: Study, picture: NewPicture) -> None:
    path = images / file_of(study, picture)
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_bytes(encode(picture.pixels))


@contextmanager
def _draft(database: Database, study: Study) -> Iterator[Session]:
    """A session that writes to a draft."""
    with database.writing() as session:
        _check_draft(study_named(session, study.name, lock=True))
        yield session


def _check_draft(study: Study) -> None:
    if study.state is not StudyState.DRAFT:
        raise UsageError(f"the study '{study.name}' has been opened: its images stay as they are")


def _outcome_of_pair(session: Session, study: Study, pair: tuple[NewPicture, NewPicture]) -> Outcome:
    """Outcome of storing two images together; a copy of another crop excludes the whole pair."""
    outcomes = {_outcome(session, study, picture) for picture in pair}
    return outcomes.pop() if len(outcomes) == 1 else Outcome.AGAIN


def _outcome(session: Session, study: Study, picture: NewPicture) -> Outcome:
    of_study = select(Image).where(Image.study_id == study.id)
    known = session.scalar(of_study.where(Image.sha256 == picture.sha256))
    if known is not None:
        if known.version != picture.version:
            raise UsageError(
                f"{picture.name} has the pixels of {known.name}: one is {_kind(picture.version)}, the other "
                f"{_kind(known.version)}"
            )
        return Outcome.KNOWN if known.name == picture.name else Outcome.AGAIN
    if session.scalar(of_study.where(Image.version == picture.version, Image.name == picture.name)) is not None:
        raise UsageError(f"{picture.name}, {_kind(picture.version)}, is in the study '{study.name}' with other pixels")
    return Outcome.NEW


def _add(session: Session, study: Study, picture: NewPicture, file: str) -> Image:
    x, y = picture.xy or (None, None)
    image = Image(
        study_id=study.id,
        is_real=picture.is_real,
        version=picture.version,
        name=picture.name,
        sha256=picture.sha256,
        file=file,
        width=picture.size_px[0],
        height=picture.size_px[1],
        tissue_share=picture.tissue_share,
        source=picture.source,
        x=x,
        y=y,
        field_um=picture.field_um,
    )
    session.add(image)
    session.flush()
    return image


def _kind(version: str | None) -> str:
    return "real" if version is None else f"synthetic, of version '{version}'"
