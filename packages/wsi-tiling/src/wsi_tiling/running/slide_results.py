"""The folder in which `tile_slides` saves the tiles and the overview of each slide."""

import errno
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_folder import file_key, first_line, is_partial, whole_file
from wsi_tiling.derived_images import is_derived_png
from wsi_tiling.errors import SlideError
from wsi_tiling.running.notes import frame_note, load_json, save_frame, save_json
from wsi_tiling.tables.table import TileTable

_SETTINGS = "settings.json"
_ELSEWHERE = "give another folder for the results (--out)"
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR)
"""Errors of the operating system that concern one file's name; others, such as a full disk, concern the run."""


@dataclass(frozen=True)
class SlideResults:
    """Tables of tiles in `out/slides`, overviews in `out`, each named after its slide.

    Args:
        out: The folder; made when something is saved.
        overviews: Whether there are overviews.
    """

    out: Path
    overviews: bool

    @property
    def tables(self) -> Path:
        """The folder of the tables."""
        return self.out / "slides"

    def table_path(self, slide: Path) -> Path:
        """The table of a slide."""
        return self.tables / f"{slide.stem}.parquet"

    def overview_path(self, slide: Path) -> Path:
        """The overview of a slide."""
        return self.out / f"{slide.stem}.png"

    def files(self, slides: Iterable[Path]) -> list[Path]:
        """All files that are saved of slides."""
        tables, overviews = ([path(slide) for slide in slides] for path in (self.table_path, self.overview_path))
        return [self.tables / _SETTINGS, *tables, *(overviews if self.overviews else [])]

    def settings(self) -> dict[str, Any] | None:
        """The settings that the saved tiles were cut with; None if nothing is saved.

        Raises:
            SlideError: They cannot be read.
        """
        return load_json(self.tables / _SETTINGS)

    def save_settings(self, settings: dict[str, Any]) -> None:
        """Saves the settings, unless they are saved already."""
        if not (self.tables / _SETTINGS).exists():
            save_json(settings, self.tables / _SETTINGS)

    def check_free(self, slides: Sequence[Path]) -> None:
        """Makes sure that saving replaces only what an earlier run saved.

        Raises:
            SlideError: A file that no run saved, or one of the slides, has the name of a result.
        """
        left = (path for path in self.tables.iterdir() if not is_partial(path.name)) if self.tables.exists() else ()
        if self.settings() is None and any(left):
            raise SlideError(
                f"{self.tables} exists and holds no tiles of an earlier run, but results in {self.out} are kept in a "
                f"folder of that name; {_ELSEWHERE}"
            )
        if not self.overviews:
            return
        inputs = {key for slide in slides if (key := file_key(slide)) is not None}
        for slide in slides:
            overview = self.overview_path(slide)
            key = file_key(overview)
            if key in inputs and key is not None:
                raise SlideError(f"{overview} is a slide, and the overview of {slide} would replace it; {_ELSEWHERE}")
            if key is not None and not is_derived_png(overview) and not os.path.lexists(self.table_path(slide)):
                raise SlideError(f"{overview} exists and is no overview of an earlier run; {_ELSEWHERE}")

    def name_trouble(self, slide: Path) -> str | None:
        """Why results of a slide cannot be saved under its name, None if they can."""
        try:
            str(slide).encode()
        except UnicodeEncodeError:
            return f"{printable(slide)}: its path is not valid UTF-8; rename it"
        folder = next(parent for parent in (self.tables, *self.tables.parents) if parent.is_dir())
        for path in (self.table_path(slide), self.overview_path(slide)):
            try:
                os.lstat(folder / path.name)
            except OSError as error:
                if error.errno in _OF_THE_NAME:
                    return self.not_saved(slide, error)
        return None

    def not_saved(self, slide: Path, error: OSError) -> str | None:
        """Why the results of one slide could not be saved; None if the error concerns the whole run."""
        if error.errno not in _OF_THE_NAME:
            return None
        return f"{slide}: its tiles cannot be saved under its name ({error.strerror or first_line(error)}); rename it"

    def saved_identity(self, slide: Path) -> str | None:
        """The identity of a slide whose results are saved; None if they are not, or if its file has changed since."""
        if self.overviews and not os.path.lexists(self.overview_path(slide)):
            return None
        note = frame_note(self.table_path(slide))
        if note is None or not slide.is_file():
            return None
        identity = note.pop("slide_id", None)
        return identity if note == stamp(slide) else None

    def save(self, slide: Path, table: TileTable, overview: bytes | None, note: dict[str, Any]) -> None:
        """Saves a slide's overview, then its table, which says that the slide is done.

        Raises:
            OSError: A file cannot be written.
        """
        if overview is not None:
            with whole_file(self.overview_path(slide)) as partial:
                partial.write_bytes(overview)
        save_frame(table.frame, self.table_path(slide), note)

    def missing_from(self, slides: Iterable[Path]) -> list[Path]:
        """Slides that are saved but are not among these, by name."""
        names = {slide.stem for slide in slides}
        saved = sorted(self.tables.glob("*.parquet"))
        notes = ((path, frame_note(path) or {}) for path in saved if path.stem not in names)
        return [Path(note.get("path", path.stem)) for path, note in notes]


def check_names(slides: Iterable[str | os.PathLike[str]]) -> None:
    """Makes sure that no two slides have one name.

    Raises:
        SlideError: Two have, and are not the same file.
    """
    first: dict[str, Path] = {}
    for slide in map(Path, slides):
        # Letters with accents have two encodings that nobody can tell apart by eye.
        other = first.setdefault(unicodedata.normalize("NFC", slide.stem), slide)
        if other != slide and os.path.realpath(other) != os.path.realpath(slide):
            raise SlideError(
                f"two slides have the same name, {other} and {slide}; give one of them only, or rename one: slides are "
                "known by their names without the ending"
            )


def stamp(slide: Path) -> dict[str, Any]:
    """The facts that show whether a slide's file has changed."""
    status = slide.stat()
    return {"path": str(slide), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def printable(path: Path) -> str:
    """A path as text that can be printed and saved, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
