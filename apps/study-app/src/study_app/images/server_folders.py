"""Folders on the server that administrators may import from, on the site."""

from collections.abc import Iterator
from pathlib import Path

from study_app.errors import UsageError

DEPTH = 3
MOST = 500


def server_folders(root: Path) -> list[str]:
    """Names of the folders below a folder that have files in them, in alphabetical order; none if there is no such.

    Links and hidden folders are left out, what lies deeper than three folders is not looked at, and there are 500 at
    most.
    """
    return sorted(_folders(root, root, DEPTH))[:MOST]


def server_folder(root: Path, name: str) -> Path:
    """The folder of a name.

    Raises:
        UsageError: It is none of `server_folders`.
    """
    if name not in server_folders(root):
        raise UsageError(f"'{name}' is none of the folders that may be imported from")
    return root / name


def _folders(root: Path, folder: Path, depth: int) -> Iterator[str]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            if any(each.is_file() for each in path.iterdir()):
                yield path.relative_to(root).as_posix()
            if depth > 1:
                yield from _folders(root, path, depth - 1)
