"""Digests of files and folders, which depend on names and contents alone."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from maskcond.enrichment.errors import EnrichmentError

Sizes = dict[str, tuple[int, int]]
"""Size in bytes and modification time in ns of files, by their path."""


def list_files(folder: Path, parts: Iterable[str]) -> list[str]:
    """The files of some parts of a folder, each a file or a folder, as paths relative to it, sorted.

    Raises:
        EnrichmentError: A part is missing.
    """
    paths: set[Path] = set()
    for part in parts:
        path = folder / part
        if not path.exists():
            raise EnrichmentError(f"{path}: no such file or folder")
        paths.update([path] if path.is_file() else (inner for inner in path.rglob("*") if inner.is_file()))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def digest_files(folder: Path, files: Iterable[str]) -> str:
    """The SHA-256, in hex, of files' names and contents."""
    whole = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as file:
            whole.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def digest_folder(folder: Path) -> str:
    """The SHA-256, in hex, of all files of a folder, such as a model's.

    Raises:
        EnrichmentError: The folder is missing.
    """
    if not folder.is_dir():
        raise EnrichmentError(f"{folder}: no such folder")
    return digest_files(folder, list_files(folder, ["."]))


def file_sizes(folder: Path, files: Iterable[str]) -> Sizes:
    """Size and modification time of files, a cheap test of whether one may have changed."""
    stats = {name: (folder / name).stat() for name in files}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def unchanged(folder: Path, sizes: Mapping[str, tuple[int, int]], digest: str) -> bool:
    """Whether files are unchanged; they are read only if the size or modification time of one differs."""
    try:
        if file_sizes(folder, sizes) == dict(sizes):
            return True
        return digest_files(folder, sizes) == digest
    except FileNotFoundError:
        return False
