"""Pictures in a zip file that somebody sent: unpacked, with nothing else of it."""

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
    """Unpacks the pictures of a zip file into a new folder, whole or not at all.

    Whatever is no picture by its name, and hidden files, stay out. How large a file is comes from its contents, and not
    from what the archive says of them.

    Args:
        archive: The zip file.
        folder: The folder; it is not there yet.
        most_bytes: What the pictures may take unpacked, all together.

    Returns:
        How many pictures there are.

    Raises:
        UsageError: It is no zip file, it is damaged or encrypted, it reaches outside its folder, it is too large, or it
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
    """The pictures of an archive, by where they belong."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
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
        name = str(path).casefold()  # two names may be one to a file system
        if name in taken:
            raise UsageError(f"two of its files have the name {path}")
        taken.add(name)
        found[path] = entry
    if not found:
        raise UsageError(f"it has no pictures (names ending in {', '.join(SUFFIXES)})")
    if len(found) > MOST_FILES:
        raise UsageError(f"it has {len(found):,} pictures, wanted {MOST_FILES:,} at most")
    return found
