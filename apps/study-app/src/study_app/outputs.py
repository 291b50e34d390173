"""Files that are written: refused where something is there already, and under their names only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import run_folder
from study_app.errors import UsageError


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raises UsageError if a path is there already, unless it may be overwritten."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; give another name, or --overwrite to replace it")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """As `run_folder.whole_file`; the file is also on disk, and not in the system's memory alone, when it has its name.

    Args:
        path: The file; folders that it lies in are made.
    """
    with run_folder.whole_file(path) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
