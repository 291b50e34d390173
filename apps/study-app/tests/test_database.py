import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from run_folder import UsageError
from study_app.database import Base, Database, User, upgrade

HASH = "-"
NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def empty(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/empty.sqlite")


def shape(database: Database) -> dict[str, object]:
    """Tables with all that they are made of."""
    tables = inspect(database.engine)
    return {
        name: [
            sorted(map(str, parts))
            for parts in (
                tables.get_columns(name),
                tables.get_foreign_keys(name),
                tables.get_unique_constraints(name),
                tables.get_check_constraints(name),
                tables.get_indexes(name),
                [tables.get_pk_constraint(name)],
            )
        ]
        for name in tables.get_table_names()
        if name != "alembic_version"
    }


def test_migrations_make_the_tables_of_the_models(empty: Database, tmp_path: Path) -> None:
    upgrade(empty)
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    modelled = Database(f"sqlite:///{tmp_path}/modelled.sqlite")
    Base.metadata.create_all(modelled.engine)
    assert shape(empty) == shape(modelled)
    empty.close()
    modelled.close()


def test_upgrading_again_changes_nothing(database: Database) -> None:
    before = shape(database)
    upgrade(database)
    with database.reading() as session:
        assert session.scalars(select(User.name)).all() == ["anna"]
    assert shape(database) == before


def test_a_database_of_a_later_version_is_refused(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(UsageError, match="later version"):
        upgrade(database)


def test_times_keep_their_microseconds_and_come_back_in_utc(database: Database) -> None:
    away = NOON.astimezone(timezone(timedelta(hours=5)))
    with database.writing() as session:
        session.add(User(name="berta", password_hash=HASH, created=away))
    with database.reading() as session:
        assert session.scalars(select(User.created).where(User.name == "berta")).one() == NOON


def test_an_error_rolls_all_back(database: Database) -> None:
    def add(*names: str) -> None:
        with database.writing() as session:
            for name in names:
                session.add(User(name=name, password_hash=HASH, created=NOON))
                session.flush()

    with pytest.raises(IntegrityError):
        add("berta", "anna")
    with database.reading() as session:
        assert session.scalars(select(User.name)).all() == ["anna"]


def test_a_writer_waits_for_the_writer_before_it_in_this_process_and_in_others(database: Database) -> None:
    elsewhere = Database(str(database.engine.url))
    began, order = threading.Event(), []

    def write_next() -> None:
        began.set()
        with elsewhere.writing() as session:
            order.append("second")
            names = session.scalars(select(User.name)).all()
            order.append("berta" in names)

    with database.writing() as session:
        waiting = threading.Thread(target=write_next)
        waiting.start()
        began.wait()
        session.add(User(name="berta", password_hash=HASH, created=NOON))
        session.flush()
        order.append("first")
    waiting.join()
    elsewhere.close()
    assert order == ["first", "second", True]


def test_what_is_committed_is_on_disk(database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(text("pragma synchronous")) == 2
        assert session.scalar(text("pragma journal_mode")) == "wal"
        assert session.scalar(text("pragma foreign_keys")) == 1


@pytest.mark.parametrize(
    ("url", "words"), [("no url", "such as sqlite:///file"), ("nosuch://host/base", "driver cannot be loaded")]
)
def test_urls_that_are_none(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Database(url)
