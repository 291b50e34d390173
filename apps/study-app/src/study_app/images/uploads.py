"""Unpacking of the pictures in an uploaded zip file."""

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from pfid.images.folders import SUFFIXES
from run_folder import UsageError

MOST_FILES = 20_000
_PIECE = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeDecodeError)


def unpack_pictures(archive: IO[bytes], folder: Path, *, most_bytes: int) -> int:
    """Unpacks the pictures of a zip file into a new folder, all or none.

    Hidden files and files without the ending of a picture are skipped. Sizes are measured while unpacking, not taken
    from the archive's entries.

    Args:
        archive: The zip file.
        folder: New folder.
        most_bytes: Largest total size of the unpacked pictures.

    Returns:
        The number of pictures.

    Raises:
        UsageError: The file is not a zip file, is damaged or encrypted, has paths outside its folder, is too large, or
            has no pictures.
    """
    folder.mkdir()
    try:
        return _unpack(archive, folder, most_bytes)
    except BaseException:
        shutil.rmtree(folder)
        raise


def _unpack(archive: IO[bytes], folder: Path, most_bytes: int) -> int:
    try:
        with zipfile.ZipFile(archive) as opened:
            pictures = _pictures(opened)
            left = most_bytes
            for path, entry in pictures.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as packed, target.open("xb") as file:
                    while piece := packed.read(min(_PIECE, left + 1)):
                        left -= len(piece)
                        if left < 0:
                            raise UsageError(f"its pictures take more than {most_bytes >> 20:,} MiB unpacked")
                        file.write(piece)
    except _DAMAGED as error:
        raise UsageError(f"it is no zip file that can be read: {error}") from None
    except (FileExistsError, NotADirectoryError):
        raise UsageError("a file and a folder of it have one name") from None
    return len(pictures)


def _pictures(archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The pictures of an archive by their paths in the folder."""
    pictures: dict[PurePosixPath, zipfile.ZipInfo] = {}
    taken = set()
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or "\0" in entry.filename:
            raise UsageError(f"it reaches outside its folder: {entry.filename!r}")
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
        if entry.is_dir() or hidden or path.suffix.lower() not in SUFFIXES:
            continue
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise UsageError(f"{path} is no plain file")
        if entry.flag_bits & 1:
            raise UsageError(f"{path} is encrypted")
        name = str(path).casefold()  # a file system may ignore case
        if name in taken:
            raise UsageError(f"two of its files have the name {path}")
        taken.add(name)
        pictures[path] = entry
    if not pictures:
        raise UsageError(f"it has no pictures (names ending in {', '.join(SUFFIXES)})")
    if len(pictures) > MOST_FILES:
        raise UsageError(f"it has {len(pictures):,} pictures, wanted {MOST_FILES:,} at most")
    return pictures
