"""A backup, made while readers are at work, is unpacked elsewhere, and they go on there."""

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from run_folder import UsageError
from study_app.backup import back_up
from study_app.database import Database
from study_app.installing import open_database
from study_app.settings import DATABASE_FILE, SETTINGS_FILE, Settings, load_settings
from study_app.web import create_app


@contextmanager
def restored(archive: Path, folder: Path, browser: Any, clock: Any) -> Iterator[Any]:
    """Unpacks a backup, serves it, and opens a browser there."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (installation,) = folder.iterdir()
    app = create_app(load_settings(installation, {}), clock=clock)
    visitor = browser()
    visitor.client = app.test_client()
    yield visitor
    app.extensions["study_app"].database.close()


def test_readers_go_on_where_a_backup_was_made(
    make_study: Any, browser: Any, settings: Settings, database: Database, clock: Any, run_app: Any, tmp_path: Path
) -> None:
    make_study(pairs=4)
    reader = browser("berta")
    reader.answer("left")
    before = reader.answer("right")
    pictures = [reader.get(address).data for address in before["current"]["pictures"]]
    (settings.images / "tiles" / ".half.jpg.partial").touch()
    archive = tmp_path / "kept" / "reading.tar"
    with database.writing() as session:  # a writer at work does not hinder it
        session.connection()
        done = run_app("backup", settings.folder, "--out", archive)
    assert done.code == 0, done.err
    assert archive.stat().st_mode & 0o077 == 0
    assert list(archive.parent.iterdir()) == [archive]
    with tarfile.open(archive) as opened:
        folder = opened.getmember(settings.folder.name)
    assert folder.isdir()
    assert folder.mode & 0o077 == 0
    reader.answer("left")  # after the backup
    shutil.rmtree(settings.images)
    with restored(archive, tmp_path / "elsewhere", browser, clock) as visitor:
        (installation,) = (tmp_path / "elsewhere").iterdir()
        assert all(path.stat().st_mode & 0o077 == 0 for path in installation.iterdir() if path.is_file())
        assert not list(installation.rglob("*.partial"))
        # The secret is the same, so who was signed in then is signed in there.
        cookie = reader.client.get_cookie("study_session")
        visitor.client.set_cookie("study_session", cookie.value)
        assert visitor.state() == before
        assert [visitor.get(address).data for address in before["current"]["pictures"]] == pictures
        visitor.get("/")
        assert visitor.answer("left")["done"] == 3
        assert visitor.answer("left")["done"] == 4


def test_a_database_elsewhere_comes_into_the_folder(
    make_study: Any,
    settings: Settings,
    database: Database,
    app: Flask,
    browser: Any,
    clock: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_study()
    elsewhere = tmp_path / "elsewhere.sqlite"
    for each in (database, app.extensions["study_app"].database):
        each.close()
    (settings.folder / "study.sqlite").rename(elsewhere)
    with (settings.folder / SETTINGS_FILE).open("a") as file:
        file.write(f'database_url = "sqlite:///{elsewhere}"\n')
    monkeypatch.chdir(settings.folder)
    back_up(load_settings(Path(), {}), tmp_path / "kept.tar")
    elsewhere.unlink()
    with restored(tmp_path / "kept.tar", tmp_path / "restored", browser, clock) as visitor:
        assert [path.name for path in (tmp_path / "restored").iterdir()] == [settings.folder.name]
        visitor.sign_in("berta")
        assert visitor.state()["total"] == 4


def test_backups_that_cannot_be_made(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "there.tar").touch()
    with pytest.raises(UsageError, match=r"exists; give another name$"):
        back_up(settings, tmp_path / "there.tar")
    with pytest.raises(UsageError, match="by its own means"):
        back_up(replace(settings, database_url="postgresql://name@host/base"), tmp_path / "new.tar")
    with pytest.raises(UsageError, match="among the images"):
        back_up(settings, settings.images / "new.tar")
    database = settings.folder / DATABASE_FILE
    for damage, words in ((b"no database" * 99, "cannot be copied"), (None, "put the database back")):
        database.unlink() if damage is None else database.write_bytes(damage)
        with pytest.raises(UsageError, match=words):
            back_up(settings, tmp_path / "new.tar")
    assert not (tmp_path / "new.tar").exists()
    with pytest.raises(UsageError, match="put the database back"):
        open_database(settings)
    assert not database.exists()
