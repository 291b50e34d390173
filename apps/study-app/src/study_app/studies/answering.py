"""Readers' answers: each is stored once, and the last one can be undone.

A page may send an answer twice (a double click, a lost response, a second tab, the back button): the token that it
names stands for one question, so it counts once and is confirmed each time. Any other late request is a conflict, and
the response holds the reader's actual state.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.database import Answer, Choice, Showing, StudyKind, StudyReader, StudyState
from study_app.studies.errors import Conflict
from study_app.studies.showing import last_answer, new_token, unanswered
from study_app.studies.sittings import last_seen, sit

PAIR_CHOICES = (Choice.LEFT, Choice.RIGHT)
SINGLE_CHOICES = (Choice.REAL, Choice.SYNTHETIC)


def choices(kind: StudyKind) -> tuple[Choice, Choice]:
    """The choices in a study of a kind."""
    return SINGLE_CHOICES if kind is StudyKind.SINGLE else PAIR_CHOICES


def answer(session: Session, reader: StudyReader, token: str, chosen: str, *, now: datetime, idle: timedelta) -> None:
    """Stores a reader's answer; the server alone decides whether it is correct.

    The answer counts once the session is committed.

    Args:
        session: The session.
        reader: The reader of a study, locked.
        token: Token of the item as it was shown.
        chosen: Side that the reader takes for real, 'left' or 'right'; for a single image, 'real' or 'synthetic'.
        now: Current time.
        idle: See `sit`.

    Raises:
        UsageError: The choice is not valid.
        Conflict: Another item is the current one, this one has another answer, or the study is closed.
    """
    earlier = _answer_of(session, reader, token)
    if earlier is not None:
        if earlier.live and earlier.chosen == chosen:
            return
        raise Conflict("this was answered otherwise" if earlier.live else "this answer was undone")
    _check_open(reader)
    turn = unanswered(session, reader, 1, now=now)
    if not turn or turn[0].token != token:
        raise Conflict("it is another one's turn")  # also to what a page kept of a study of another kind
    wanted = choices(reader.study.kind)
    if chosen not in wanted:
        raise UsageError(f"'{chosen}' is no answer: wanted {wanted[0]} or {wanted[1]}")
    choice, showing = Choice(chosen), turn[0]
    if showing.first_shown is None:  # the page has no scripts, or its word that the item is on screen was lost
        showing.first_shown = max(showing.created, last_seen(session, reader) or showing.created)
    session.add(
        Answer(
            token=token,
            showing=showing,
            sitting=sit(session, reader, now=now, idle=idle),
            chosen=choice,
            correct=choice == _truth(showing),
            answered=max(now, showing.first_shown),  # should the clock have been set back
        )
    )
    session.flush()


def undo(session: Session, reader: StudyReader, token: str, *, now: datetime) -> None:
    """Undoes a reader's last answer: its item is the current one again, under a new token. Repeated calls do nothing.

    Args:
        session: The session.
        reader: The reader of a study, locked.
        token: Token of the answer.
        now: Current time.

    Raises:
        Conflict: It is not the last answer, or the study is closed.
    """
    undone = _answer_of(session, reader, token)
    if undone is not None and not undone.live:
        return
    _check_open(reader)
    last = last_answer(session, reader)
    if undone is None or last is None or undone.id != last.id:
        raise Conflict("only the last answer can be undone")
    undone.live = None
    undone.undone = now
    undone.showing.token = new_token()
    session.flush()


def _answer_of(session: Session, reader: StudyReader, token: str) -> Answer | None:
    return session.scalar(
        select(Answer).join(Answer.showing).where(Answer.token == token, Showing.user_id == reader.user_id)
    )


def _check_open(reader: StudyReader) -> None:
    if reader.study.state is not StudyState.OPEN:
        raise Conflict("the study is closed")


def _truth(showing: Showing) -> Choice:
    if showing.real_side is not None:
        return Choice(showing.real_side.value)
    return Choice.SYNTHETIC if showing.item.real_image_id is None else Choice.REAL
