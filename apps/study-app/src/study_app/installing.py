"""An installation: made, and opened."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from run_folder import UsageError
from study_app.accounts import Passwords, add_user, check_password
from study_app.database import Database, upgrade
from study_app.settings import DATABASE_FILE, IMAGES_FOLDER, SECRET_FILE, SETTINGS_FILE, Settings, load_settings

_FIRST_LINES = """\
# Settings of study-app; what is not here has its default. The environment goes before: STUDY_APP_DATABASE_URL.
"""


def install(folder: Path, *, admin: str, password: str, database_url: str = "", https: bool = False) -> Settings:
    """Makes an installation: its settings, its secret, its database, and someone who may run it.

    Args:
        folder: A folder that is not there yet.
        admin: Name of the first administrator.
        password: Their password.
        database_url: Of a database other than the SQLite file in the folder.
        https: Whether readers come by https.

    Raises:
        UsageError: The folder is there already, the name or the password cannot be one, or the database cannot be had.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists; give the name of a new folder")
    check_password(password)
    folder.mkdir(parents=True, mode=0o700)
    try:
        values = {"database_url": database_url} if database_url else {}
        _write_private(folder / SETTINGS_FILE, _FIRST_LINES + tomli_w.dumps({**values, "https": https}))
        _write_private(folder / SECRET_FILE, f"{secrets.token_urlsafe(48)}\n")
        if not database_url:
            _write_private(folder / DATABASE_FILE, "")
        (folder / IMAGES_FOLDER).mkdir()
        settings = load_settings(folder)
        with opened(settings) as database, database.writing() as session:
            add_user(session, Passwords(settings), admin, password, now=datetime.now(UTC), is_admin=True)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return settings


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Opens the database of an installation and brings it to the tables of this version.

    Raises:
        UsageError: It is missing, cannot be had, or is of a later version.
    """
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


def open_database(settings: Settings) -> Database:
    """Like `opened`, for who closes it."""
    from sqlalchemy.exc import DBAPIError

    if not settings.database_url and not (path := settings.folder / DATABASE_FILE).is_file():
        raise UsageError(f"{path} is missing: put the database back, for example from a backup")
    database = Database(settings.database)
    try:
        upgrade(database)
    except DBAPIError as error:
        raise UsageError(f"the database cannot be opened: {str(error.orig).strip()}") from None
    return database


def _write_private(path: Path, text: str) -> None:
    """Writes a new file that nobody else can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
