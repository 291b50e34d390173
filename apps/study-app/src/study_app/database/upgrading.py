"""Brings a database to the tables of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from run_folder import UsageError
from study_app.database.engine import Database

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(database: Database) -> None:
    """Makes the tables, or changes them to those of this version; one process at a time.

    Raises:
        UsageError: The database is of a later version.
    """
    config = migrations()
    with database.writing() as session:
        config.attributes["connection"] = session.connection()
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            if "Can't locate revision" not in str(error):
                raise
            raise UsageError("the database was made by a later version of study-app: install that one") from None


def migrations() -> Config:
    """The configuration of Alembic."""
    config = Config(attributes={})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config
