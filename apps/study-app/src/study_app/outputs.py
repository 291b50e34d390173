"""Files that are written: refused where something is there already, and under their names only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study_app.errors import UsageError


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raises UsageError if a path is there already, unless it may be overwritten."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; give another name, or --overwrite to replace it")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside a path; the file is on disk under the path's name once all is written.

    Args:
        path: The file; folders that it lies in are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
