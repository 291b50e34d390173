"""Sittings: a reader at work without a break. The published tables call them sessions."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from study_app.database import Sitting, StudyReader


def sit(session: Session, reader: StudyReader, *, now: datetime, idle: timedelta) -> Sitting:
    """Returns the reader's sitting, which goes on at this time; a new one, if the last has ended.

    Args:
        session: The session.
        reader: The reader of a study.
        now: The time.
        idle: A sitting in which nothing happened for longer ended when something last did.
    """
    sitting = _live(session, reader)
    if sitting is not None and now - sitting.last_seen > idle:
        _end(sitting, sitting.last_seen)
        session.flush()
        sitting = None
    if sitting is None:
        sitting = Sitting(study_id=reader.study_id, user_id=reader.user_id, started=now, last_seen=now)
        session.add(sitting)
        session.flush()
    sitting.last_seen = max(now, sitting.last_seen)
    return sitting


def last_seen(session: Session, reader: StudyReader) -> datetime | None:
    """Time of the last event in the reader's sitting; None if there is none."""
    sitting = _live(session, reader)
    return None if sitting is None else sitting.last_seen


def pause(session: Session, reader: StudyReader, *, now: datetime) -> None:
    """Ends the reader's sitting, if there is one."""
    sitting = _live(session, reader)
    if sitting is not None:
        _end(sitting, now)


def end_sittings(session: Session, user_id: int, *, now: datetime) -> None:
    """Ends all sittings of a user, who signs out."""
    for sitting in session.scalars(select(Sitting).where(Sitting.user_id == user_id, Sitting.live.is_(True))):
        _end(sitting, now)


def _live(session: Session, reader: StudyReader) -> Sitting | None:
    return session.scalar(
        select(Sitting).where(
            Sitting.study_id == reader.study_id, Sitting.user_id == reader.user_id, Sitting.live.is_(True)
        )
    )


def _end(sitting: Sitting, when: datetime) -> None:
    sitting.live = None
    sitting.ended = max(when, sitting.last_seen)
