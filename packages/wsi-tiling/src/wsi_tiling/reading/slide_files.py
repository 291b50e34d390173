"""Lists the slides in files, folders and patterns, and the files that were passed over."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, TypeAlias

from run_folder import Walk
from wsi_tiling.derived_images import is_derived_png
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.openers import SLIDE_SUFFIXES
from wsi_tiling.reading.slide_identity import slide_identity

StrPath: TypeAlias = str | os.PathLike[str]
DICOM_SUFFIX = ".dcm"
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_INDEX_SUFFIXES = (".vms", ".vmu")

Kind: TypeAlias = Literal[
    "other", "hidden", "dangling", "unreadable", "searched", "output", "folder", "dicom", "vms", "derived"
]
_WORDS: dict[str, tuple[str, str]] = {
    "other": ("file that is not a slide by its name", "files that are not slides by their names"),
    "hidden": ("hidden file or folder", "hidden files or folders"),
    "dangling": ("link to nothing", "links to nothing"),
    "unreadable": ("file or folder that cannot be read", "files or folders that cannot be read"),
    "searched": ("link to a folder that is searched anyway", "links to folders that are searched anyway"),
    "output": ("folder for the results", "folders for the results"),
    "folder": ("folder that matches the pattern", "folders that match the pattern"),
    "dicom": ("DICOM file that is part of another's slide or no slide", "DICOM files that are parts of others' slides"),
    "vms": ("image that is part of a Hamamatsu slide", "images that are parts of Hamamatsu slides"),
    "derived": ("image made of a slide (overview, preview)", "images made of slides (overviews, previews)"),
}


@dataclass(frozen=True)
class PassedOver:
    """Files or folders of one kind that a search did not take.

    Args:
        kind: Why.
        count: How many there are.
        first: One of them.
    """

    kind: Kind
    count: int
    first: Path

    def __str__(self) -> str:
        one, many = _WORDS[self.kind]
        return f"1 {one}, {self.first}" if self.count == 1 else f"{self.count} {many}, such as {self.first}"


@dataclass(frozen=True)
class SlideSearch:
    """The slides in files, folders and patterns.

    Args:
        slides: The files, absolute, with links as they are: a slide is named as its file is. Each is listed once.
        passed_over: Other files and folders, by kind.
    """

    slides: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...]


def slide_files(places: Iterable[StrPath], without: Sequence[StrPath] = ()) -> list[Path]:
    """Lists the slides in files, folders and patterns; see `find_slides`, which also says what it passes over."""
    return list(find_slides(places, without).slides)


def find_slides(places: Iterable[StrPath], without: Sequence[StrPath] = ()) -> SlideSearch:
    """Lists the slides in files, folders and patterns, and counts what it passes over.

    Folders and patterns follow links to folders, each folder once. Hidden files and folders, parts of Hamamatsu slides
    (the images that a .vms file names), and overviews and previews that this project made are not taken.

    Args:
        places: Files, whatever their suffix, existing or not; folders, of which all slides by `SLIDE_SUFFIXES` are
            taken, and one file of each DICOM slide, also those in folders inside, in order of their names; patterns
            such as 'slides/**/*.svs', of which all matching files are taken.
        without: Folders for results: left out, unless a place lies inside.

    Raises:
        SlideError: A folder or a pattern yields nothing; the message says what was passed over.
    """
    slides: dict[Path, None] = {}
    total = _Counts()
    for place in [os.fspath(place) for place in places]:
        path, counts = Path(place).absolute(), _Counts()
        if path.is_dir():
            files, kind = _in_folder(path, without, counts), "folder"
        elif not path.exists() and glob.has_magic(place):
            files, kind = _matching(path, without, counts), "pattern"
        else:
            files, kind = [path], "file"
        if not files:
            besides = "; ".join(map(str, counts.listed()))
            raise SlideError(f"{place}: no slides in this {kind}" + (f", but {besides}" if besides else ""))
        slides |= dict.fromkeys(files)
        total.add(counts)
    return SlideSearch(tuple(slides), total.listed())


class _Counts:
    """Counts files and folders that are passed over."""

    def __init__(self) -> None:
        self.seen: dict[Kind, tuple[int, Path]] = {}

    def note(self, kind: Kind, path: Path, count: int = 1) -> None:
        before, first = self.seen.get(kind, (0, path))
        self.seen[kind] = before + count, first

    def add(self, other: "_Counts") -> None:
        for kind, (count, first) in other.seen.items():
            self.note(kind, first, count)

    def listed(self) -> tuple[PassedOver, ...]:
        return tuple(PassedOver(kind, count, first) for kind, (count, first) in self.seen.items())


def _in_folder(folder: Path, without: Sequence[StrPath], counts: _Counts) -> list[Path]:
    walk = Walk(folder, counts.note, without)
    wanted = []
    for path in walk.files():
        if path.suffix.lower() in SLIDE_SUFFIXES or path.suffix.lower() == DICOM_SUFFIX:
            wanted.append(path)
        else:
            counts.note("other", path)
    return _one_a_dicom_slide(_without_parts(sorted(wanted), wanted, counts), counts)


def _matching(pattern: Path, without: Sequence[StrPath], counts: _Counts) -> list[Path]:
    depth = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    root, parts = Path(*pattern.parts[:depth]), pattern.parts[depth:]

    folders: list[Path] = []

    def may_hold(folder: Path) -> bool:
        below = folder.relative_to(root).parts
        if _fits(below, parts):
            folders.append(folder)
        return _fits(below, parts, begins=True)

    def note(kind: Kind, path: Path) -> None:
        if _fits(path.relative_to(root).parts, parts, begins=True):
            counts.note(kind, path)

    hidden = any(part.startswith(".") for part in parts)
    files = list(Walk(root, note, without, enters=may_hold, hidden=hidden).files()) if root.is_dir() else []
    wanted = sorted(path for path in files if _fits(path.relative_to(root).parts, parts))
    if folders and not wanted:
        counts.note("folder", folders[0], len(folders))
    return _without_parts(wanted, files, counts)


def _fits(names: Sequence[str], pattern: Sequence[str], *, begins: bool = False) -> bool:
    """Whether the names of folders and file fit a pattern; or, with `begins`, may be the beginning of some that do."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return begins or any(_fits(names[count:], pattern[1:]) for count in range(len(names) + 1))
    if not names:
        return begins
    return fnmatch(names[0], pattern[0]) and _fits(names[1:], pattern[1:], begins=begins)


def _without_parts(wanted: list[Path], files: Iterable[Path], counts: _Counts) -> list[Path]:
    """Leaves out images that are parts of Hamamatsu slides or made of slides."""
    parts = {part for path in files if path.suffix.lower() in _INDEX_SUFFIXES for part in _named_files(path)}
    kept = []
    for path in wanted:
        if path in parts and path.suffix.lower() in _PICTURE_SUFFIXES:
            counts.note("vms", path)
        elif path.suffix.lower() == ".png" and is_derived_png(path):
            counts.note("derived", path)
        else:
            kept.append(path)
    return kept


def _named_files(index: Path) -> set[Path]:
    """The files that a Hamamatsu index (.vms, .vmu) names, all beside it."""
    try:
        lines = index.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    values = (line.partition("=")[2].strip() for line in lines)
    return {index.parent / value for value in values if value and "/" not in value and "\0" not in value}


def _one_a_dicom_slide(paths: list[Path], counts: _Counts) -> list[Path]:
    """Keeps one DICOM file of each slide, the first by name, and all files of other formats."""
    seen: set[str] = set()
    kept = []
    for path in paths:
        if path.suffix.lower() == DICOM_SUFFIX:
            identity = _dicom_identity(path)
            if identity is None or identity in seen:
                counts.note("dicom", path)
                continue
            seen.add(identity)
        kept.append(path)
    return kept


def _dicom_identity(path: Path) -> str | None:
    """The identity of a DICOM slide; None if the file is no slide that OpenSlide reads."""
    try:
        identity = slide_identity(path)
    except SlideError:
        return None
    return identity if identity.startswith("quickhash") else None
