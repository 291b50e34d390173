"""The reader's state: the current item, the following one to load meanwhile, and the progress."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from study_app.database import Answer, Image, Item, Showing, Side, StudyKind, StudyReader, StudyState
from study_app.studies.pairing import draw_side


@dataclass(frozen=True)
class Shown:
    """An item as a page receives it.

    Attributes:
        token: Token that an answer refers to.
        pictures: Tokens of the pictures: left and right, or a single one.
    """

    token: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class ReaderState:
    """The state of a reader in a study.

    Attributes:
        is_open: Whether the study takes answers.
        done: Number of answered items.
        total: Number of items of the study.
        current: Current item; None if none is left, or the study is closed.
        following: Next item, to preload.
        undoable: Token of the last answer, if it can be undone.
    """

    is_open: bool
    done: int
    total: int
    current: Shown | None
    following: Shown | None
    undoable: str | None


def reader_state(session: Session, reader: StudyReader, *, now: datetime) -> ReaderState:
    """Returns the state of a reader, and makes tokens for the next items; the session has to be a writing one."""
    is_open = reader.study.state is StudyState.OPEN
    next_two = [_shown(showing) for showing in unanswered(session, reader, 2, now=now)] if is_open else []
    last = last_answer(session, reader)
    done, total = progress_of(session, reader)
    return ReaderState(
        is_open=is_open,
        done=done,
        total=total,
        current=next_two[0] if next_two else None,
        following=next_two[1] if len(next_two) > 1 else None,
        undoable=last.token if last and is_open else None,
    )


def unanswered(session: Session, reader: StudyReader, most: int, *, now: datetime) -> list[Showing]:
    """The first items without an answer, at most `most`; they get a showing if they have none."""
    rows = session.execute(
        select(Item, Showing)
        .outerjoin(Showing, and_(Showing.item_id == Item.id, Showing.user_id == reader.user_id))
        .outerjoin(Answer, and_(Answer.showing_id == Showing.id, Answer.live.is_(True)))
        .where(Item.study_id == reader.study_id, Answer.id.is_(None))
        .order_by(Item.position)
        .limit(most)
    ).all()
    return [showing or _first_showing(session, reader, item, now) for item, showing in rows]


def last_answer(session: Session, reader: StudyReader) -> Answer | None:
    """The reader's last answer that was not undone."""
    return session.scalar(
        select(Answer)
        .join(Answer.showing)
        .join(Showing.item)
        .where(Item.study_id == reader.study_id, Showing.user_id == reader.user_id, Answer.live.is_(True))
        .order_by(Item.position.desc())
        .limit(1)
    )


def progress_of(session: Session, reader: StudyReader) -> tuple[int, int]:
    """Number of items that a reader has answered, and of all."""
    done = session.scalar(_counted(reader))
    total = session.scalar(select(func.count()).where(Item.study_id == reader.study_id))
    return done or 0, total or 0


def correct_of(session: Session, reader: StudyReader) -> int:
    """Number of a reader's correct answers: for the reader once the study is closed, not before."""
    return session.scalar(_counted(reader).where(Answer.correct.is_(True))) or 0


def mark_shown(session: Session, reader: StudyReader, token: str, *, now: datetime) -> None:
    """Keeps when an item first came before the reader's eyes; what is not the reader's, or was shown before, stays."""
    showing = session.scalar(select(Showing).where(Showing.token == token, Showing.user_id == reader.user_id))
    if showing is not None and showing.first_shown is None:
        showing.first_shown = now


def picture_of(session: Session, token: str, user_id: int) -> Image | None:
    """The image that a picture's token stands for, if it is one of this user's."""
    showing = session.scalar(
        select(Showing).where(
            or_(Showing.left_token == token, Showing.right_token == token), Showing.user_id == user_id
        )
    )
    if showing is None:
        return None
    if showing.real_side is None:
        return showing.item.real_image or showing.item.synthetic_image
    is_real = (showing.left_token == token) == (showing.real_side is Side.LEFT)
    return showing.item.real_image if is_real else showing.item.synthetic_image


def new_token() -> str:
    """A random name that nobody can guess."""
    return secrets.token_urlsafe(32)


def _counted(reader: StudyReader) -> "Select[int]":
    return (
        select(func.count(Answer.id))
        .join(Answer.showing)
        .join(Showing.item)
        .where(Item.study_id == reader.study_id, Showing.user_id == reader.user_id, Answer.live.is_(True))
    )


def _first_showing(session: Session, reader: StudyReader, item: Item, now: datetime) -> Showing:
    single = reader.study.kind is StudyKind.SINGLE
    showing = Showing(
        token=new_token(),
        item=item,
        user_id=reader.user_id,
        real_side=None if single else draw_side(reader.seed, item.position),
        left_token=new_token(),
        right_token=None if single else new_token(),
        created=now,
    )
    session.add(showing)
    session.flush()
    return showing


def _shown(showing: Showing) -> Shown:
    right = () if showing.right_token is None else (showing.right_token,)
    return Shown(showing.token, (showing.left_token, *right))
