"""Signing in and out. The server keeps who is signed in, so a cookie that was copied is worth nothing after the end."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from study_app.database import SignIn, User

_SEEN_EVERY = timedelta(minutes=1)
"""Resolution of the time of the last request: not every request writes to the database."""


@dataclass(frozen=True)
class SignInRules:
    """Rules of when to sign in again.

    Args:
        idle: After so long without a request.
        longest: So long after signing in.
    """

    idle: timedelta
    longest: timedelta


def begin_sign_in(session: Session, user: User, *, now: datetime) -> SignIn:
    """Signs a user in."""
    sign_in = SignIn(token=secrets.token_urlsafe(32), user=user, started=now, last_seen=now)
    session.add(sign_in)
    return sign_in


def live_sign_in(session: Session, token: str, rules: SignInRules, *, now: datetime) -> SignIn | None:
    """Returns what a token stands for, with its user, unless it has ended or the user may no longer sign in."""
    sign_in = session.scalar(select(SignIn).where(SignIn.token == token).options(joinedload(SignIn.user)))
    if sign_in is None or sign_in.ended is not None or not sign_in.user.active:
        return None
    if now - sign_in.last_seen > rules.idle or now - sign_in.started > rules.longest:
        return None
    return sign_in


def is_to_be_seen(sign_in: SignIn, rules: SignInRules, *, now: datetime) -> bool:
    """Whether it is time to keep that someone was seen."""
    return now - sign_in.last_seen > min(_SEEN_EVERY, rules.idle / 2)


def see(session: Session, token: str, *, now: datetime) -> None:
    """Keeps when someone was last seen, and nothing else of what was read before: it may have changed since."""
    session.execute(update(SignIn).where(SignIn.token == token).values(last_seen=now))


def end_sign_in(session: Session, token: str, *, now: datetime) -> None:
    """Signs out."""
    session.execute(update(SignIn).where(SignIn.token == token, SignIn.ended.is_(None)).values(ended=now))


def end_sign_ins(session: Session, user: User, *, now: datetime) -> None:
    """Signs a user out wherever they are signed in."""
    session.execute(update(SignIn).where(SignIn.user_id == user.id, SignIn.ended.is_(None)).values(ended=now))
