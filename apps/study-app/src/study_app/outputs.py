"""Files that appear under their names when they are whole and on the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import run_folder


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
