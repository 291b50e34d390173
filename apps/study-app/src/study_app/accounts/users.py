"""Users: adding, looking up, and authenticating them."""

import re
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.accounts.passwords import Passwords, check_password
from study_app.accounts.sign_ins import end_sign_ins
from study_app.database import User

_TOTAL = "total"
"""A row of tables of results."""
_NAME = re.compile(r"\w(?:[\w .@+-]{0,62}[\w.+-])?")


def add_user(
    session: Session, passwords: Passwords, name: str, password: str, *, now: datetime, is_admin: bool = False
) -> User:
    """Adds a user.

    Raises:
        UsageError: The name is taken, in whatever case, or cannot be one, or the password is too short.
    """
    if not _NAME.fullmatch(name) or name.casefold() == _TOTAL:
        raise UsageError(
            f"'{name}' cannot be a name: wanted 1 to 64 letters, digits, spaces or any of . _ @ + -, and not '{_TOTAL}'"
        )
    if is_user(session, name):
        raise UsageError(f"there is a user '{name}' already")
    check_password(password)
    user = User(name=name, password_hash=passwords.hash(password), is_admin=is_admin, created=now)
    session.add(user)
    session.flush()
    return user


def is_user(session: Session, name: str) -> bool:
    """Whether a name is taken, in whatever case."""
    # Not by the database, whose idea of lower case may end with the letters of ASCII.
    return name.casefold() in map(str.casefold, session.scalars(select(User.name)))


def user_named(session: Session, name: str) -> User:
    """Finds a user.

    Raises:
        UsageError: There is none of that name.
    """
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        hint = ", but there is one in other letters, small or large" if is_user(session, name) else ""
        raise UsageError(f"there is no user '{name}'{hint}")
    return user


def authenticate(session: Session, passwords: Passwords, name: str, password: str) -> User | None:
    """Returns the user of a name and a password, if there is one who may sign in; it takes as long if there is none."""
    user = session.scalar(select(User).where(User.name == name))
    right = passwords.matches(password, user.password_hash if user else None)
    return user if right and user and user.active else None


def set_password(session: Session, passwords: Passwords, user: User, password: str, *, now: datetime) -> None:
    """Gives a user another password, and ends what was signed in by the old one.

    Raises:
        UsageError: The password is too short.
    """
    check_password(password)
    user.password_hash = passwords.hash(password)
    end_sign_ins(session, user, now=now)


def set_active(session: Session, user: User, active: bool, *, now: datetime) -> None:
    """Lets a user sign in, or no longer; who is signed in is signed out at once."""
    user.active = active
    if not active:
        end_sign_ins(session, user, now=now)
