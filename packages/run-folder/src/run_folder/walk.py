"""Walks through a folder tree and the folders that links lead to, each once."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

Obstacle: TypeAlias = Literal["hidden", "dangling", "unreadable", "searched", "output"]
"""The reason why a walk leaves something out: its name begins with a dot; its link has no target; it cannot be read;
the folder has been searched already, or is one of those not to enter."""


class Walk:
    """A walk through a folder: real folders first, then those that links lead to. No folder is entered twice.

    Args:
        folder: The folder to start in.
        note: Called with each obstacle and its path.
        without: Folders not to enter, except `folder` itself.
        enters: Returns whether to enter a folder; None to enter all.
        hidden: Whether to take files and folders whose names begin with a dot.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        note: Callable[[Obstacle, Path], None],
        without: Sequence[str | os.PathLike[str]] = (),
        *,
        enters: Callable[[Path], bool] | None = None,
        hidden: bool = False,
    ) -> None:
        self._note, self._enters, self._hidden = note, enters, hidden
        self._without = {key for other in without if (key := file_key(Path(other))) is not None}
        self._real, self._linked = deque([Path(folder)]), deque[Path]()
        self._entered: set[tuple[int, int]] = set()
        self._root = Path(folder)

    def files(self) -> Iterator[Path]:
        """Yields the files, links to files among them, folder by folder."""
        while self._real or self._linked:
            folder = (self._real or self._linked).popleft()
            key = file_key(folder)
            if key is None:
                self._note("unreadable", folder)
            elif key in self._entered:
                self._note("searched", folder)
            elif key in self._without and folder != self._root:
                self._note("output", folder)
            else:
                self._entered.add(key)
                yield from self._files_of(folder)

    def _files_of(self, folder: Path) -> Iterator[Path]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            self._note("unreadable", folder)
            return
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") and not self._hidden:
                self._note("hidden", path)
            elif _is_folder(entry):
                if self._enters is None or self._enters(path):
                    (self._linked if entry.is_symlink() else self._real).append(path)
            elif os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where it may not look
                yield path
            else:
                self._note("dangling" if entry.is_symlink() else "unreadable", path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads through itself
        return False


def file_key(path: Path) -> tuple[int, int] | None:
    """Returns the device and inode of a file or folder, the same for all its names and links; None if unreadable."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
