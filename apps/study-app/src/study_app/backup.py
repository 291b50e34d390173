"""Backup of a running installation in one file."""

import io
import os
import sqlite3
import tarfile
import tomllib
from contextlib import closing
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import tomli_w
from sqlalchemy.engine import make_url

from run_folder import UsageError
from study_app.outputs import whole_file
from study_app.settings import DATABASE_FILE, IMAGES_FOLDER, SECRET_FILE, SETTINGS_FILE, Settings, read_text


def back_up(settings: Settings, path: Path) -> None:
    """Writes a tar file of the settings, the secret, a consistent copy of the database, and the images.

    Unpacked, it is the installation again, with the database in its folder. Only its owner can read it, because it
    holds the true labels and the secret, unless that comes from the environment.

    Raises:
        UsageError: The file exists already or would lie among the images, or the database is not SQLite, is missing or
            damaged.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists; give another name")
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise UsageError(f"the database is none of SQLite's: back it up by its own means, and copy {settings.folder}")
    name = settings.folder.resolve().name
    if settings.images.resolve() in path.resolve().parents:
        raise UsageError(f"{path} lies among the images, all of which are kept; choose another folder")
    if not Path(url.database).is_file():
        raise UsageError(f"{url.database} is missing: put the database back")
    with whole_file(path) as partial, TemporaryDirectory(dir=path.parent) as beside:
        partial.touch(mode=0o600)
        copy = Path(beside) / DATABASE_FILE
        copy.touch(mode=0o600)
        try:
            with closing(sqlite3.connect(url.database)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise UsageError(f"{url.database} cannot be copied: {error}; put an earlier backup back") from None
        with tarfile.open(partial, "w") as archive:
            archive.add(settings.folder, name, recursive=False)  # keeps the permissions when unpacked
            _add_settings(archive, settings.folder / SETTINGS_FILE, f"{name}/{SETTINGS_FILE}")
            if (settings.folder / SECRET_FILE).exists():
                archive.add(settings.folder / SECRET_FILE, f"{name}/{SECRET_FILE}")
            archive.add(copy, f"{name}/{DATABASE_FILE}")
            # after the database, because an image's file is written before its row
            archive.add(settings.images, f"{name}/{IMAGES_FOLDER}", filter=_whole)


def _add_settings(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Adds the settings without the URL of an external database, because the copy lies at the default path."""
    text = read_text(path)
    values = tomllib.loads(text)
    if values.pop("database_url", ""):
        text = tomli_w.dumps(values)
    contents = text.encode()
    entry = archive.gettarinfo(path, name)
    entry.size = len(contents)
    archive.addfile(entry, io.BytesIO(contents))


def _whole(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Skips temporary files."""
    return None if PurePath(entry.name).name.startswith(".") else entry
