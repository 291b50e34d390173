"""Tiles of thousands of slides: the tiles of each are saved at once, and a bad slide does not stop the others."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from run_folder import FolderLock, differences
from wsi_tiling.checks import check_number
from wsi_tiling.derived_images import derived_png
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.openers import open_slide
from wsi_tiling.reading.slide import Slide, checked_mpp
from wsi_tiling.reading.slide_identity import slide_identity
from wsi_tiling.running.executors import Failed, LocalTaskExecutor, TaskExecutor
from wsi_tiling.running.notes import as_json
from wsi_tiling.running.slide_results import SlideResults, check_names, stamp
from wsi_tiling.tables.fields import whole_slide_fields
from wsi_tiling.tables.overviews import overview
from wsi_tiling.tables.table import TileTable, check_share
from wsi_tiling.tables.tiles import find_tiles
from wsi_tiling.tissue.rule import TissueRule

MPP_TOLERANCE = 0.1
"""Largest relative difference between a slide's scale and the wanted one."""
_EMPTY = "sha256:0:"

Trouble: TypeAlias = Literal[
    "unreadable", "unknown scale", "another scale", "twice", "not saved", "fault", "died", "too slow"
]
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
        check_number("a positive field, in level-0 pixels", self.field_l0, above=0)
        check_number("an overlap in [0, 1)", self.overlap, least=0, below=1)
        check_share(self.min_tissue)


@dataclass(frozen=True)
class TileSettings:
    """The settings by which slides are tiled.

    Args:
        fields: The tiles to lay over each slide, at one magnification or several.
        rule: What counts as tissue.
        unstated_mpp: Micrometres a level-0 pixel of slides that do not state their scale; those that do keep it.
        wanted_mpp: What the scale has to be, to a tenth: others are set aside. Any, an unknown one too, if not given.
        overview_px: Longer side of the image of each slide, 0 for no images.

    Raises:
        SlideError: There are no fields, two are alike, or a scale is not positive.
    """

    fields: tuple[TileField, ...]
    rule: TissueRule
    unstated_mpp: float | None = None
    wanted_mpp: float | None = None
    overview_px: int = 1024

    def __post_init__(self) -> None:
        sides = [field.field_l0 for field in self.fields]
        if not sides or len(set(sides)) < len(sides):
            raise SlideError(f"wanted one field or several that differ, got {sides}")
        checked_mpp(self.unstated_mpp)
        checked_mpp(self.wanted_mpp)


@dataclass(frozen=True)
class SlideTiled:
    """A slide that is done.

    Args:
        path: The slide.
        table: Its tiles.
        reused: Whether an earlier run had done it.
        notes: What of the file was not taken, see `Slide.notes`; of slides that were opened in this run.
    """

    path: Path
    table: TileTable
    reused: bool
    notes: tuple[str, ...] = ()


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
    paths: Sequence[str | os.PathLike[str]],
    settings: TileSettings,
    out: str | os.PathLike[str],
    *,
    executor: TaskExecutor | None = None,
) -> Iterator[SlideTiled | SlideSetAside]:
    """Finds the tiles of many slides.

    The table of each slide is saved in `out/slides`, and its overview, if wanted, in `out`, as soon as they are done:
    run again, this continues where it stopped. Slides whose size, date or path has changed since are tiled again, and
    so are those that were set aside.

    Slides are compared by their contents first, see `slide_identity`: of several files of one slide, the first is
    tiled, and the others are set aside.

    Args:
        paths: The slides, see `find_slides`.
        settings: How they are tiled.
        out: Folder for the tables and overviews; made when there is something to save. One run at a time works in it.
        executor: Where the slides are looked at; in this process, one after the other, if not given.

    Yields:
        The outcome of each slide: of those done before first, then as they are done. See `saved_tiles` for the table of
        all.

    Raises:
        SlideError: Two slides have one name, the folder holds tiles cut with other settings or is not of this function,
            an overview would replace a slide, or processes cannot be started.
        LockedError: Another run works in the folder.
        OSError: A file cannot be written.
    """
    slides = [Path(path) for path in paths]
    check_names(slides)
    executor = executor or LocalTaskExecutor()
    wanted = as_json(asdict(settings))
    results = SlideResults(Path(out), overviews=settings.overview_px > 0)
    results.check_free(slides)
    with FolderLock(results.tables, beside=True):
        saved = results.settings()
        if saved is not None and (changed := list(differences(saved, wanted))):
            raise SlideError(f"{out} holds tiles cut with other settings, {'; '.join(changed)}: give another folder")
        identities = {path: results.saved_identity(path) for path in slides} if saved is not None else {}
        done = {path: identity for path, identity in identities.items() if identity is not None}
        duplicates = _Duplicates()
        for path, identity in done.items():
            if (twice := duplicates.twice(path, identity)) is not None:
                yield twice
            else:
                yield SlideTiled(path, TileTable.load(results.table_path(path)), reused=True)
        to_do: list[Path] = []
        left = [path for path in slides if path not in done]
        for path, identified in _identified(left, results, executor, bool(done)):
            set_aside = identified if isinstance(identified, SlideSetAside) else duplicates.twice(path, identified)
            if set_aside is not None:
                yield set_aside
            else:
                to_do.append(path)
        for outcome in executor.run(_TileSlide(settings), to_do):
            path = to_do[outcome.number]
            if isinstance(outcome, Failed):
                yield _failed(path, outcome)
            elif isinstance(outcome.value, SlideSetAside):
                yield outcome.value
            else:
                yield _saved(results, path, outcome.value, wanted)


def saved_tiles(out: str | os.PathLike[str], paths: Sequence[str | os.PathLike[str]]) -> TileTable:
    """Reads the tiles that `tile_slides` saved, in the order of the paths; slides without saved tiles are left out."""
    results = SlideResults(Path(out), overviews=False)
    # A name that is too long for a table is no reason to fail: there is none.
    files = (path for path in map(results.table_path, map(Path, paths)) if os.path.lexists(path))
    return TileTable.concat(map(TileTable.load, files))


def saved_but_not_given(out: str | os.PathLike[str], paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Lists slides whose tiles `tile_slides` saved in a folder and that are not among `paths`, by their names."""
    return SlideResults(Path(out), overviews=False).missing_from(map(Path, paths))


def overview_path(out: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """The file of a slide's overview by `tile_slides`."""
    return SlideResults(Path(out), overviews=True).overview_path(Path(path))


class _Duplicates:
    """Finds files of one slide."""

    def __init__(self) -> None:
        self._first: dict[str, Path] = {}

    def twice(self, path: Path, identity: str) -> SlideSetAside | None:
        """Records a file; returns the outcome to report if an earlier file is of the same slide."""
        if not identity or identity.startswith(_EMPTY):
            return None
        first = self._first.setdefault(identity, path)
        if first == path:
            return None
        same = "file" if os.path.realpath(path) == os.path.realpath(first) else "slide"
        return SlideSetAside(path, "twice", f"{path} is the same {same} as {first}")


def _identified(
    paths: Sequence[Path], results: SlideResults, executor: TaskExecutor, compare: bool
) -> Iterator[tuple[Path, str | SlideSetAside]]:
    """Yields the identity of each file, '' where it is not known, in their order; or why a file is set aside.

    Args:
        paths: The files.
        results: Where their results are to be saved.
        executor: Where the files are read.
        compare: Whether there are others to compare them with; if not, one file alone needs no identity.
    """
    outcomes: dict[Path, str | SlideSetAside] = {}
    for path in paths:
        trouble = results.name_trouble(path)
        outcomes[path] = "" if trouble is None else SlideSetAside(path, "not saved", trouble)
    to_do = [path for path, outcome in outcomes.items() if outcome == ""]
    if compare or len(to_do) > 1:
        for outcome in executor.run(slide_identity, to_do):
            path = to_do[outcome.number]
            if not isinstance(outcome, Failed):
                outcomes[path] = outcome.value
            elif outcome.kind in ("died", "too slow"):  # other failures get a better reason when the slide is opened
                outcomes[path] = _failed(path, outcome)
    yield from outcomes.items()


def _failed(path: Path, outcome: Failed) -> SlideSetAside:
    trouble: Trouble = "unreadable" if outcome.kind == "refused" else outcome.kind
    reason = outcome.reason if str(path) in outcome.reason else f"{path}: {outcome.reason}"
    return SlideSetAside(path, trouble, reason, outcome.trace)


def _saved(results: SlideResults, path: Path, tiled: "_Tiled", settings: dict[str, Any]) -> SlideTiled | SlideSetAside:
    """Saves the tiles of a slide; sets it aside if its own name forbids that.

    Raises:
        OSError: A file cannot be written for another reason, such as a full disk.
    """
    results.save_settings(settings)
    try:
        results.save(path, tiled.table, tiled.overview, tiled.note)
    except OSError as error:
        reason = results.not_saved(path, error)
        if reason is None:
            raise
        return SlideSetAside(path, "not saved", reason)
    return SlideTiled(path, tiled.table, reused=False, notes=tiled.notes)


@dataclass(frozen=True)
class _Tiled:
    table: TileTable
    note: dict[str, Any]
    overview: bytes | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _TileSlide:
    """Finds the tiles of a slide and draws its overview, in a worker."""

    settings: TileSettings

    def __call__(self, path: Path) -> _Tiled | SlideSetAside:
        settings = self.settings
        note = stamp(path) if path.is_file() else {}
        with open_slide(path) as slide:
            set_aside = self._take_scale(slide, path)
            if set_aside is not None:
                return set_aside
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
                picture = derived_png(overview(slide, table, settings.rule, settings.overview_px))
            notes = slide.notes
        return _Tiled(table, note | {"slide_id": slide_identity(path)}, picture, notes)

    def _take_scale(self, slide: Slide, path: Path) -> SlideSetAside | None:
        """Gives a slide that states no scale the one of the settings; returns why a slide of another is set aside."""
        settings, contradiction = self.settings, slide._no_mpp_reason
        if slide.mpp is None and contradiction is None:
            slide.mpp = settings.unstated_mpp
        if settings.wanted_mpp is None:
            return None
        if slide.mpp is None:
            reason = contradiction or "does not state its scale; give it (--mpp, unstated_mpp), in micrometres a pixel"
            return SlideSetAside(path, "unknown scale", f"{path} {reason}")
        if abs(slide.mpp / settings.wanted_mpp - 1) > MPP_TOLERANCE:
            reason = f"{path}: {slide.mpp:g} um a pixel, wanted {settings.wanted_mpp:g}"
            return SlideSetAside(path, "another scale", reason, mpp=slide.mpp)
        return None
