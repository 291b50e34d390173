"""Readers of studies."""

import secrets
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from run_folder import UsageError
from study_app.database import Answer, Item, Showing, Sitting, Study, StudyReader, StudyState, User
from study_app.studies.errors import NoStudyError


def add_reader(session: Session, study: Study, user: User) -> StudyReader:
    """Makes a user a reader of a study, unless the user is one already."""
    reader = session.get(StudyReader, (study.id, user.id))
    if reader is None:
        reader = StudyReader(study=study, user=user, seed=secrets.randbits(63))
        session.add(reader)
        session.flush()
    return reader


def remove_reader(session: Session, study: Study, user: User) -> None:
    """Removes a reader without answers from a study, with the record of the items shown.

    Raises:
        UsageError: The reader has answers, which are never deleted.
    """
    shown = (
        select(Showing.id).join(Showing.item).where(Item.study_id == study.id, Showing.user_id == user.id).subquery()
    )
    if session.scalar(select(Answer.id).where(Answer.showing_id.in_(select(shown))).limit(1)) is not None:
        raise UsageError(f"{user.name} has answers in '{study.name}', which stay; disable {user.name} to end them")
    session.execute(delete(Showing).where(Showing.id.in_(select(shown))))
    session.execute(delete(Sitting).where(Sitting.study_id == study.id, Sitting.user_id == user.id))
    session.execute(delete(StudyReader).where(StudyReader.study_id == study.id, StudyReader.user_id == user.id))


def reader_of(session: Session, study_name: str, user_id: int, *, lock: bool = False) -> StudyReader:
    """Returns a reader of a study that has been opened.

    Args:
        session: The session.
        study_name: Name of the study.
        user_id: Number of the reader.
        lock: Whether to lock the reader's row and keep the study from being closed during the transaction. SQLite,
            where writers are serialised, needs no lock.

    Raises:
        NoStudyError: The study does not exist or is a draft, or this user does not read it.
    """
    query = (
        select(StudyReader)
        .join(StudyReader.study)
        .where(Study.name == study_name, Study.state != StudyState.DRAFT, StudyReader.user_id == user_id)
        .options(joinedload(StudyReader.study, innerjoin=True))
    )
    if lock:
        session.scalar(select(Study.id).where(Study.name == study_name).with_for_update(read=True))
        query = query.with_for_update(of=StudyReader)
    reader = session.scalar(query)
    if reader is None:
        raise NoStudyError(f"there is no study '{study_name}' here that you read")
    return reader


def studies_of(session: Session, user_id: int) -> Sequence[StudyReader]:
    """The studies that a user reads, the latest first, without drafts."""
    return session.scalars(
        select(StudyReader)
        .join(StudyReader.study)
        .where(StudyReader.user_id == user_id, Study.state != StudyState.DRAFT)
        .options(joinedload(StudyReader.study, innerjoin=True))
        .order_by(Study.opened.desc(), Study.id.desc())
    ).all()
