"""Files that appear under their names once they are complete and on the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import run_folder


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Like `run_folder.whole_file`, but the file is flushed to the disk before it gets its name.

    Args:
        path: The file; missing folders above it are made.
    """
    with run_folder.whole_file(path) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
