"""Progress of the readers of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from study_app.database import Answer, Item, Showing, Sitting, Study, StudyReader, User


@dataclass(frozen=True)
class ReaderProgress:
    """Progress of a reader.

    Attributes:
        reader: The reader's name.
        done: Number of answered items.
        total: Number of items of the study.
        last_answer: Time of the last answer.
        last_seen: Time at which the reader last worked on the study.
    """

    reader: str
    done: int
    total: int
    last_answer: datetime | None
    last_seen: datetime | None


def study_progress(session: Session, study: Study) -> Sequence[ReaderProgress]:
    """Progress of each reader of a study, by name, without the answers."""
    total = session.scalar(select(func.count()).where(Item.study_id == study.id)) or 0
    answers = (
        select(Showing.user_id, Answer.id, Answer.answered)
        .join(Answer.showing)
        .join(Showing.item)
        .where(Item.study_id == study.id, Answer.live.is_(True))
        .subquery()
    )
    seen = (
        select(func.max(Sitting.last_seen))
        .where(Sitting.study_id == study.id, Sitting.user_id == User.id)
        .scalar_subquery()
    )
    rows = session.execute(
        select(User.name, func.count(answers.c.id), func.max(answers.c.answered), seen)
        .select_from(StudyReader)
        .join(StudyReader.user)
        .outerjoin(answers, answers.c.user_id == User.id)
        .where(StudyReader.study_id == study.id)
        .group_by(User.id, User.name)
        .order_by(User.name)
    )
    return [ReaderProgress(name, done, total, last, last_seen) for name, done, last, last_seen in rows]
