"""The identity of a slide by its content, whatever its file is called."""

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import openslide

from run_folder import content_digest, first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.formats.slide_format import SlideFile

_QUICKHASH = "openslide.quickhash-1"


def slide_identity(path: str | os.PathLike[str]) -> str:
    """Returns a text that is the same for all files of one slide and for all copies of it.

    It is OpenSlide's quickhash-1 with the size of level 0: the files of a DICOM slide share it. Where OpenSlide has
    none (PNG, JPEG, TIFF that it does not read or whose smallest level takes more than 5 MB), it is the file's size and
    its `run_folder.content_digest`: files of one size, over 64 MiB, that differ only between the pieces which that
    looks at count as one slide.

    Args:
        path: The file.

    Raises:
        SlideError: It cannot be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        return _identity(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except FileNotFoundError:
        raise SlideError(f"{path}: no such file") from None
    except OSError as error:
        raise SlideError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error


def check_identities(slides: Iterable[tuple[str, str]]) -> None:
    """Makes sure that files still hold the slides that tiles were cut from.

    Args:
        slides: The path and the identity of each; an empty identity, of tables of version 0.1, is not checked.

    Raises:
        SlideError: A file holds another slide, or cannot be read.
    """
    for path, identity in slides:
        if identity and slide_identity(path) != identity:
            raise SlideError(f"{path} has changed since its tiles were found; find them again, in another folder")


def check_distinct(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Checks that no two files are copies of one slide.

    Args:
        paths: The files.

    Raises:
        SlideError: Two are the same slide, or one cannot be read.
    """
    first: dict[str, str] = {}
    for path in map(str, paths):
        earlier = first.setdefault(slide_identity(path), path)
        if earlier != path:
            raise SlideError(f"{path} is the same slide as {earlier}; give it once")


@lru_cache(maxsize=4096)
def _identity(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    """The identity of a file that has not changed: its status is part of the key."""
    return _openslide_identity(path) or f"sha256:{size}:{content_digest(path)}"


def _openslide_identity(path: Path) -> str | None:
    try:
        file = SlideFile.inspect(path)
        if file.vendor is None:
            return None
        file.check_for_openslide()
        with openslide.OpenSlide(path) as slide:
            quickhash = slide.properties.get(_QUICKHASH)
            width, height = slide.dimensions
    except (OSError, openslide.OpenSlideError, SlideError):
        return None
    return f"quickhash-1:{width}x{height}:{quickhash}" if quickhash else None
