"""Files that appear under their names only when they are complete, and checksums of files."""

import contextlib
import functools
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.partial(\.\w+)?")
STALE_S = 3600.0
"""Age after which a temporary file counts as left by a killed process, s."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; it becomes `path` when the block ends without an error.

    The temporary name is short, whatever the length of the name, and has the same suffix, by which some libraries
    choose the format. It is hidden, so that no listing of a folder takes it for a result. Files left by killed
    processes are removed, once for each folder and process.

    Args:
        path: The file; missing folders above it are made.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent.resolve())
    suffix = path.suffix if len(path.suffix) <= 10 else ""
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.partial{suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_partial(name: str) -> bool:
    """Whether a file's name is one of the temporary names that `whole_file` gives."""
    return _TEMPORARY.fullmatch(name) is not None


@functools.cache
def _sweep(folder: Path) -> None:
    for left in folder.glob(".*.partial*"):
        if is_partial(left.name):
            with contextlib.suppress(OSError):  # another process may have removed it
                if time.time() - left.stat().st_mtime > STALE_S:
                    left.unlink()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
