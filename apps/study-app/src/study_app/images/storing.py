"""Pictures are stored: their files first, then their rows, so what is in the database is on disk."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from study_app.database import Database, Image, Study, StudyState
from study_app.errors import UsageError
from study_app.images.encoding import SUFFIX, encode
from study_app.images.pictures import NewPicture
from study_app.outputs import whole_file
from study_app.studies import study_named


class Outcome(StrEnum):
    """What became of a picture."""

    NEW = "new"
    KNOWN = "known"
    """It is in the study, from an earlier import."""
    AGAIN = "again"
    """Its pixels are those of another picture of its version."""
    WHITE = "white"
    """It has too little tissue."""


def store(
    database: Database, images: Path, study: Study, pictures: Sequence[NewPicture], *, min_tissue: float
) -> list[Outcome]:
    """Stores pictures of a draft, all or none; those that are in the study already stay as they are.

    Args:
        database: Where the study is.
        images: The folder of the images of all studies.
        study: The study.
        pictures: The pictures.
        min_tissue: Least share of tissue in a picture.

    Returns:
        What became of each.

    Raises:
        UsageError: The study is no draft any more, or a picture is there on the other side, of another version, or
            under the same name with other pixels.
    """
    for picture in pictures:
        path = images / file_of(study, picture)
        if picture.tissue_share >= min_tissue and not path.exists():
            with whole_file(path) as partial:
                partial.write_bytes(encode(picture.pixels))
    with database.writing() as session:
        if study_named(session, study.name, lock=True).state is not StudyState.DRAFT:
            raise UsageError(f"the study '{study.name}' has been opened: its images stay as they are")
        return [
            _stored(session, study, picture) if picture.tissue_share >= min_tissue else Outcome.WHITE
            for picture in pictures
        ]


def file_of(study: Study, picture: NewPicture) -> str:
    """Where a picture's file is, below the folder of images."""
    return f"{study.name}/{picture.sha256}{SUFFIX}"


def _stored(session: Session, study: Study, picture: NewPicture) -> Outcome:
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
    x, y = picture.xy or (None, None)
    session.add(
        Image(
            study_id=study.id,
            is_real=picture.is_real,
            version=picture.version,
            name=picture.name,
            sha256=picture.sha256,
            file=file_of(study, picture),
            width=picture.size_px[0],
            height=picture.size_px[1],
            tissue_share=picture.tissue_share,
            source=picture.source,
            x=x,
            y=y,
            field_um=picture.field_um,
        )
    )
    session.flush()
    return Outcome.NEW


def _kind(version: str | None) -> str:
    return "real" if version is None else f"synthetic, of version '{version}'"
