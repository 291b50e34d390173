"""The database: sessions that read, and sessions that write."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker

from run_folder import UsageError

_WAIT_S = 30
_POOL = {"pool_size": 20, "max_overflow": 20}


class Database:
    """Sessions over one database.

    What is written in `writing()` is on disk when it returns, or not written at all. SQLite takes one writer at a time,
    from the start of its transaction on, so a writer never acts on what another has changed since.

    Args:
        url: Of any database that SQLAlchemy knows.

    Raises:
        UsageError: The URL is none, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            if self.is_sqlite and parsed.database in (None, "", ":memory:"):
                raise ArgumentError("in memory, each connection would have a database of its own")
            more = {"connect_args": {"timeout": _WAIT_S}} if self.is_sqlite else {"pool_pre_ping": True}
            self.engine = create_engine(parsed, **_POOL, **more)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise UsageError(f"the database's driver cannot be loaded: {error}; install it") from None
        except ArgumentError:
            raise UsageError(
                "the database's URL is none, such as sqlite:///file or postgresql://name@host/base"
            ) from None
        # SQLite's writers ask again and again, and one may starve; those of this process queue up instead.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_up)
            event.listen(self.engine, "begin", _begin)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._writes = sessionmaker(self.engine.execution_options(writes=True), expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with self._reads() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are committed at the end, or rolled back if there is an error."""
        with self._turn, self._writes.begin() as session:
            session.connection()  # the transaction begins here, and not with the first question
            yield session

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions by itself, and late
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
