"""Tiles of thousands of slides: what is done is saved at once, and a bad slide does not stop the others."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import PIL.Image

from wsi_tiling.errors import SlideError
from wsi_tiling.executors import Executor, Failed, InProcessExecutor
from wsi_tiling.fields import whole_slide_fields
from wsi_tiling.files import open_slide
from wsi_tiling.notes import as_json, differences, frame_note, load_json, partial_path, save_frame, save_json
from wsi_tiling.overviews import overview
from wsi_tiling.slide import checked_mpp
from wsi_tiling.table import TileTable, check_share
from wsi_tiling.tiles import find_tiles
from wsi_tiling.tissue import TissueRule

MPP_TOLERANCE = 0.1
"""How far a slide's scale may be from the one that is wanted, as a share of it."""
_SETTINGS = "settings.json"

Trouble: TypeAlias = Literal["unreadable", "unknown scale", "another scale", "twice", "fault", "died", "too slow"]
"""Why a slide was set aside."""


@dataclass(frozen=True)
class TileField:
    """Tiles of one size, see `find_tiles` and `whole_slide_fields`.

    Args:
        field_l0: Side of a tile, level-0 pixels.
        min_tissue: Least share of tissue of a tile that is kept.
        overlap: Share of a tile that overlaps the next.
        half_shifts: Adds the grid moved by half a field in x, in y and in both.
        whole_slide: Instead of a grid inside the slide, one field centred on it ('crop') or as few as cover it
            ('cover'); without overlap and shifts.

    Raises:
        SlideError: A number is out of range.
    """

    field_l0: float
    min_tissue: float = 0.05
    overlap: float = 0.0
    half_shifts: bool = False
    whole_slide: Literal["crop", "cover"] | None = None

    def __post_init__(self) -> None:
        if not self.field_l0 > 0:
            raise SlideError(f"wanted a positive field, got {self.field_l0}")
        if not 0 <= self.overlap < 1:
            raise SlideError(f"wanted an overlap in [0, 1), got {self.overlap}")
        check_share(self.min_tissue)


@dataclass(frozen=True)
class TileSettings:
    """How slides are tiled.

    Args:
        fields: The tiles to lay over each slide, at one magnification or several.
        rule: What counts as tissue.
        mpp: Micrometres a level-0 pixel, in place of what the slides say.
        wanted_mpp: What that has to be, to a tenth: others are set aside. Any scale, an unknown one too, if not given.
        overview_px: Longer side of the picture of each slide, 0 for no pictures.

    Raises:
        SlideError: There are no fields, two are alike, or a scale is not positive.
    """

    fields: tuple[TileField, ...]
    rule: TissueRule
    mpp: float | None = None
    wanted_mpp: float | None = None
    overview_px: int = 1024

    def __post_init__(self) -> None:
        sides = [field.field_l0 for field in self.fields]
        if not sides or len(set(sides)) < len(sides):
            raise SlideError(f"wanted one field or several that differ, got {sides}")
        checked_mpp(self.mpp)
        checked_mpp(self.wanted_mpp)


@dataclass(frozen=True)
class SlideTiled:
    """A slide that is done.

    Args:
        path: The slide.
        table: Its tiles.
        reused: Whether an earlier run had done it.
    """

    path: Path
    table: TileTable
    reused: bool


@dataclass(frozen=True)
class SlideSetAside:
    """A slide that cannot be used.

    Args:
        path: The slide.
        trouble: What kind of trouble there is.
        reason: What it is, in one line.
        trace: Where in the program, if that is at fault.
        mpp: The slide's scale, if that is another.
    """

    path: Path
    trouble: Trouble
    reason: str
    trace: str = ""
    mpp: float | None = None


def tile_slides(
    paths: Sequence[Path], settings: TileSettings, out: Path, *, executor: Executor | None = None
) -> Iterator[SlideTiled | SlideSetAside]:
    """Finds the tiles of many slides.

    The table of each slide is saved in `out/slides`, and its picture, if wanted, in `out`, as soon as they are there:
    run again, this goes on where it stopped. Slides whose size, date or path has changed since are looked at again, and
    so are those that were set aside.

    Args:
        paths: The slides, see `slide_files`.
        settings: How they are tiled.
        out: Folder for the tables and pictures; made when there is something to save.
        executor: Where the slides are looked at; in this process, one after the other, if not given.

    Yields:
        What came of each slide: of those done before first, then as they are done. See `saved_tiles` for the table of
        all.

    Raises:
        SlideError: Two slides have one name, the folder holds tiles cut with other settings, or processes cannot be
            started.
        OSError: A file cannot be written.
    """
    check_names(paths)
    wanted = as_json(asdict(settings))
    found = load_json(out / "slides" / _SETTINGS)
    if found is not None and (differ := list(differences(found, wanted))):
        raise SlideError(f"{out} holds tiles cut with other settings, {'; '.join(differ)}: give another folder")
    to_do: list[Path] = []
    files: dict[str, Path] = {}
    for path in paths:
        real = os.path.realpath(path)
        first = files.setdefault(real, path)
        if first is not path:
            yield SlideSetAside(path, "twice", f"{path} is the same file as {first}")
        elif found is not None and _is_done(out, path, settings):
            yield SlideTiled(path, TileTable.load(_table_path(out, path)), reused=True)
        else:
            to_do.append(path)
    executor = executor or InProcessExecutor()
    for outcome in executor.run(_TileSlide(settings), to_do):
        path = to_do[outcome.number]
        if isinstance(outcome, Failed):
            trouble: Trouble = "unreadable" if outcome.kind == "refused" else outcome.kind
            reason = outcome.reason if str(path) in outcome.reason else f"{path}: {outcome.reason}"
            yield SlideSetAside(path, trouble, reason, outcome.trace)
        elif isinstance(outcome.value, SlideSetAside):
            yield outcome.value
        else:
            if not (out / "slides" / _SETTINGS).exists():
                (out / "slides").mkdir(parents=True, exist_ok=True)
                save_json(wanted, out / "slides" / _SETTINGS)
            _save(outcome.value, out, path)
            yield SlideTiled(path, outcome.value.table, reused=False)


def saved_tiles(out: Path, paths: Sequence[Path]) -> TileTable:
    """Reads what `tile_slides` saved of slides, in the order of their paths; what is missing is left out."""
    files = (_table_path(out, path) for path in paths)
    return TileTable.concat(TileTable.load(file) for file in files if file.exists())


def check_names(paths: Sequence[Path]) -> None:
    """Raises SlideError if two slides have one name."""
    counts = Counter(path.stem for path in paths)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        one, other = [path for path in paths if path.stem == twice[0]][:2]
        raise SlideError(
            f"two slides have the same name, {one} and {other}; rename one, since names tell slides apart in the table"
        )


def overview_path(out: Path, path: Path) -> Path:
    """Where `tile_slides` saves the picture of a slide."""
    return out / f"{path.stem}.png"


@dataclass(frozen=True)
class _Tiled:
    table: TileTable
    stamp: dict[str, Any]
    picture: bytes | None


@dataclass(frozen=True)
class _TileSlide:
    """What a worker does with a slide."""

    settings: TileSettings

    def __call__(self, path: Path) -> _Tiled | SlideSetAside:
        settings = self.settings
        stamp = _stamp(path) if path.is_file() else {}
        with open_slide(path, mpp=settings.mpp) as slide:
            wanted = settings.wanted_mpp
            if wanted is not None:
                if slide.mpp is None:
                    reason = f"{path} does not say its scale: pass mpp, in micrometres a pixel"
                    return SlideSetAside(path, "unknown scale", reason)
                if abs(slide.mpp / wanted - 1) > MPP_TOLERANCE:
                    reason = f"{path}: {slide.mpp:g} um a pixel, wanted {wanted:g}"
                    return SlideSetAside(path, "another scale", reason, mpp=slide.mpp)
            tables = []
            for field in settings.fields:
                if field.whole_slide is not None:
                    table = whole_slide_fields(
                        slide,
                        field.field_l0,
                        larger=field.whole_slide,
                        rule=settings.rule,
                        min_tissue=field.min_tissue,
                    )
                else:
                    table = find_tiles(
                        [slide],
                        field_l0=field.field_l0,
                        rule=settings.rule,
                        overlap=field.overlap,
                        half_shifts=field.half_shifts,
                        min_tissue=field.min_tissue,
                    )
                tables.append(table)
            table = TileTable.concat(tables)
            picture = None
            if settings.overview_px:
                stream = io.BytesIO()
                drawn = overview(slide, table, settings.rule, settings.overview_px)
                PIL.Image.fromarray(drawn).save(stream, "PNG")
                picture = stream.getvalue()
        return _Tiled(table, stamp, picture)


def _table_path(out: Path, path: Path) -> Path:
    return out / "slides" / f"{path.stem}.parquet"


def _stamp(path: Path) -> dict[str, Any]:
    """What tells whether a slide has changed."""
    status = path.stat()
    return {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_done(out: Path, path: Path, settings: TileSettings) -> bool:
    if settings.overview_px and not overview_path(out, path).exists():
        return False
    note = frame_note(_table_path(out, path))
    return note is not None and path.is_file() and note == _stamp(path)


def _save(tiled: _Tiled, out: Path, path: Path) -> None:
    """Saves a slide's picture, then its table, which says that it is done."""
    if tiled.picture is not None:
        picture = overview_path(out, path)
        partial = partial_path(picture)
        try:
            partial.write_bytes(tiled.picture)
            os.replace(partial, picture)  # noqa: PTH105 - named for what it does
        finally:
            partial.unlink(missing_ok=True)
    save_frame(tiled.table.frame, _table_path(out, path), tiled.stamp)
