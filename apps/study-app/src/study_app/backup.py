"""An installation in one file, while it runs."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.engine import make_url

from study_app.errors import UsageError
from study_app.outputs import refuse_existing, whole_file
from study_app.settings import DATABASE_FILE, IMAGES_FOLDER, SECRET_FILE, SETTINGS_FILE, Settings


def back_up(settings: Settings, path: Path) -> None:
    """Writes a tar file of the settings, the secret, a copy of the database as it is at one time, and the images.

    Unpacked, it is the installation again. It holds the secret and the truth: only its owner can read it.

    Raises:
        UsageError: The file is there already, or the database is none of SQLite's.
    """
    refuse_existing(path)
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise UsageError(f"the database is none of SQLite's: back it up by its own means, and copy {settings.folder}")
    with whole_file(path) as partial, TemporaryDirectory(dir=path.parent) as beside:
        partial.touch(mode=0o600)
        copy = Path(beside) / DATABASE_FILE
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(url.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        with tarfile.open(partial, "w") as archive:
            for name in (SETTINGS_FILE, SECRET_FILE):
                if (settings.folder / name).exists():
                    archive.add(settings.folder / name, f"{settings.folder.name}/{name}")
            archive.add(copy, f"{settings.folder.name}/{DATABASE_FILE}")
            # After the database: an image's file is written before its row.
            archive.add(settings.images, f"{settings.folder.name}/{IMAGES_FOLDER}")
