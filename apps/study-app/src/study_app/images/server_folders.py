"""Folders on the server from which administrators may import on the site."""

import os
from collections.abc import Iterator
from pathlib import Path

from run_folder import UsageError

DEPTH = 3
MOST = 500


def server_folders(root: Path) -> list[str]:
    """Names of the folders below a folder that have files in them, in alphabetical order.

    Links, hidden folders, unreadable folders and those more than three levels deep are skipped; at most 500 are listed.
    """
    return sorted(_folders(root))[:MOST]


def server_folder(root: Path, name: str) -> Path:
    """The folder of a name.

    Raises:
        UsageError: The name is not among `server_folders`.
    """
    if name not in server_folders(root):
        raise UsageError(f"'{name}' is none of the folders that may be imported from")
    return root / name


def _folders(root: Path) -> Iterator[str]:
    for folder, inside, files in os.walk(root):
        path = Path(folder).relative_to(root)
        if path.parts and files:
            yield path.as_posix()
        inside[:] = [name for name in inside if len(path.parts) < DEPTH and not name.startswith(".")]
