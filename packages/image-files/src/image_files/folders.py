"""The images of a folder and of the folders below it, with a note on everything that is left out."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from image_files.errors import ImageFileError
from run_folder import Obstacle, Walk

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of images, in lower or upper case."""
_SHOWN = 3
_LEFT_OUT = {
    "dangling": "links that lead nowhere",
    "unreadable": "files or folders that cannot be read",
    "searched": "linked folders that are in already",
}


@dataclass(frozen=True)
class ImageList:
    """The images of a folder.

    Attributes:
        folder: The folder.
        names: Their paths below the folder, with slashes, sorted.
        notes: A line for each kind of file or folder that is left out.
    """

    folder: Path
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The images, in the order of their names."""
        return tuple(self.folder / name for name in self.names)


def list_images(folder: str | PathLike[str], suffixes: Collection[str] = SUFFIXES) -> ImageList:
    """Lists the images in a folder and the folders below it, in the order of their names.

    Links to files and to folders are followed; a folder that is reached twice is entered once. Hidden files and
    folders are left out. Files with other endings, links that lead nowhere and folders that cannot be read are left
    out, counted and named in the notes.

    Args:
        folder: The folder.
        suffixes: Suffixes of images, in lower case.

    Returns:
        The images; there may be none.

    Raises:
        ImageFileError: There is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: no such folder")
    left_out: dict[str, list[str]] = {kind: [] for kind in _LEFT_OUT}

    def name(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def note(obstacle: Obstacle, path: Path) -> None:
        if obstacle == "unreadable" and path == folder:
            raise ImageFileError(f"{folder}: the folder cannot be read; check its permissions")
        if obstacle in left_out:
            left_out[obstacle].append(name(path))

    names: list[str] = []
    endings: Counter[str] = Counter()
    for path in Walk(folder, note).files():
        if path.suffix.lower() in suffixes:
            names.append(name(path))
        else:
            endings[path.suffix.lower() or "no ending"] += 1
    notes = [_note("files with other endings", endings.total(), [ending for ending, _ in endings.most_common()])]
    notes += [_note(_LEFT_OUT[kind], len(paths), paths) for kind, paths in left_out.items()]
    return ImageList(folder, tuple(sorted(names)), tuple(filter(None, notes)))


def paths_by_stem(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Path]:
    """Files by their names without folder and ending, in their order.

    Names are in Unicode form NFC: macOS spells 'é' as two characters, other systems as one.

    Raises:
        ImageFileError: Two have one name but for folder, ending or Unicode form; it names both.
    """
    by_stem: dict[str, Path] = {}
    for path in map(Path, paths):
        other = by_stem.setdefault(unicodedata.normalize("NFC", path.stem), path)
        if other is not path:
            raise ImageFileError(f"two files are called {path.stem}: {other} and {path}; rename or remove one")
    return by_stem


def _note(files: str, count: int, names: list[str]) -> str:
    """A line about files that were left out; empty if there are none."""
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"{files} left out: {count} ({shown})" if count else ""
