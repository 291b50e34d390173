"""Which files are slides."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsi_tiling.errors import SlideError

SLIDE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("svs", "tif", "tiff", "btf", "tf2", "tf8", "ndpi", "vms", "vmu", "scn", "mrxs", "svslide", "bif", "czi"),
        *("png", "jpg", "jpeg"),
    )
)
"""What `slide_files` takes from folders: what `open_slide` opens, but for DICOM, where one slide is many files."""


def slide_files(places: Iterable[str | Path], without: Sequence[Path] = ()) -> list[Path]:
    """Lists the slides in files, folders and patterns.

    Args:
        places: Files, whatever their suffix, there or not; folders, of which all slides by `SLIDE_SUFFIXES` are taken,
            also those in folders inside, in order of their names; patterns such as 'slides/**/*.svs', likewise.
        without: Folders to leave out. Hidden files and folders are left out too.

    Returns:
        The files, absolute but with links as they are: a slide is named as its file is. Each is listed once.

    Raises:
        SlideError: A folder or a pattern yields nothing.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place).absolute()
        if path.is_dir():
            files = _below(path, without)
        elif not path.exists() and glob.has_magic(str(place)):
            matches = (Path(match).absolute() for match in sorted(glob.glob(str(place), recursive=True)))  # noqa: PTH207
            files = [match for match in matches if match.is_file()]
        else:
            files = [path]
        if not files:
            kind = "this folder" if path.is_dir() else "this pattern"
            raise SlideError(f"{place}: no slides in {kind}")
        found |= dict.fromkeys(files)
    return list(found)


def _below(folder: Path, without: Sequence[Path]) -> list[Path]:
    left_out = [other.absolute() for other in without]
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SLIDE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not any(path.is_relative_to(other) for other in left_out)
        and path.is_file()
    ]
