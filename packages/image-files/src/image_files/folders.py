"""The images of a folder and of the folders below it, with a word on everything that is passed over."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from image_files.errors import ImageFileError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""How names of images end, in small or capital letters."""
_SHOWN = 3


@dataclass(frozen=True)
class ImageList:
    """The images of a folder.

    Attributes:
        folder: The folder.
        names: Their paths below the folder, with slashes, sorted.
        notes: What was left out, a line each.
    """

    folder: Path
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The images, in the order of their names."""
        return tuple(self.folder / name for name in self.names)


@dataclass
class _Walk:
    """A walk through folders: links are followed, and every folder is entered once."""

    folder: Path
    suffixes: Collection[str]
    recursive: bool
    names: list[str] = field(default_factory=list)
    other_files: Counter[str] = field(default_factory=Counter)
    dangling: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    entered_twice: list[str] = field(default_factory=list)
    not_entered: list[str] = field(default_factory=list)
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> None:
        """Walks. Folders that lie here come before those that are linked, so that their names are their own."""
        waiting, linked = [""], list[str]()
        while waiting or linked:
            below = waiting.pop(0) if waiting else linked.pop(0)
            try:
                if not self._enter(below):
                    continue
                with os.scandir(self.folder / below) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError:
                self.unreadable.append(below)
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = f"{below}/{entry.name}" if below else entry.name
                if not self._is_folder(entry):
                    self._take_file(entry, name)
                elif not self.recursive:
                    self.not_entered.append(name)
                else:
                    (linked if entry.is_symlink() else waiting).append(name)

    def notes(self) -> tuple[str, ...]:
        """What was left out, a line each."""
        endings = [ending or "no ending" for ending, _ in self.other_files.most_common()]
        groups = (
            (self.other_files.total(), "files with other endings", endings),
            (len(self.dangling), "links that lead nowhere", self.dangling),
            (len(self.unreadable), "folders that cannot be read", self.unreadable),
            (len(self.entered_twice), "linked folders that are in already", self.entered_twice),
            (len(self.not_entered), "folders inside", self.not_entered),
        )
        return tuple(f"{what} left out: {count} ({_shown(names)})" for count, what, names in groups if count)

    def _enter(self, below: str) -> bool:
        status = (self.folder / below).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._entered:
            self.entered_twice.append(below)
            return False
        self._entered.add(identity)
        return True

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:
            return False

    def _take_file(self, entry: os.DirEntry[str], name: str) -> None:
        suffix = Path(entry.name).suffix.lower()
        try:
            is_file = entry.is_file()
        except OSError:
            is_file = False
        if entry.is_symlink() and not is_file:
            self.dangling.append(name)
        elif is_file and suffix in self.suffixes:
            self.names.append(name)
        else:
            self.other_files[suffix] += 1


def list_images(
    folder: str | PathLike[str], suffixes: Collection[str] = SUFFIXES, *, recursive: bool = True
) -> ImageList:
    """Lists the images in a folder and the folders below it, in the order of their names.

    Links to files and to folders are followed; a folder that is reached twice is entered once. Hidden files and
    folders are left out. Files with other endings, links that lead nowhere and folders that cannot be read are left
    out, counted and named in the notes.

    Args:
        folder: The folder.
        suffixes: How the names of images end, in small letters.
        recursive: Whether folders below it are entered; if not, they are counted.

    Returns:
        The images; there may be none.

    Raises:
        ImageFileError: There is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: no such folder")
    walk = _Walk(folder, suffixes, recursive)
    walk.run()
    if "" in walk.unreadable:
        raise ImageFileError(f"{folder}: the folder cannot be read; check its permissions")
    return ImageList(folder, tuple(sorted(walk.names)), walk.notes())


def paths_by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by their names without folder and ending, in their order.

    Names are in Unicode form NFC: macOS spells 'é' as two characters, other systems as one.

    Raises:
        ImageFileError: Two have one name but for folder, ending or Unicode form; it names both.
    """
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(unicodedata.normalize("NFC", path.stem), path)
        if other is not path:
            raise ImageFileError(f"two files are called {path.stem}: {other} and {path}; rename or remove one")
    return by_stem


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
