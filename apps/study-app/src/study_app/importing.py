"""`study-app import`, `import-crops` and `import-slides`: import images into a study, which is made if missing."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from run_folder import UsageError
from run_folder.cli.console import progress_bars, say
from study_app.database import Database, Study, StudyKind
from study_app.images.crops import CropRequest, import_crops
from study_app.images.importing import Imported, ImportRequest, check_sizes, import_images, side_notes
from study_app.images.slides import SlideRequest, import_slides
from study_app.images.storing import Outcome
from study_app.installing import opened
from study_app.settings import Settings
from study_app.studies import NewStudy, create_study

_WORDS = {
    Outcome.NEW: "new",
    Outcome.KNOWN: "there already",
    Outcome.AGAIN: "left out as copies of others",
    Outcome.WHITE: "left out for too little tissue",
}


@dataclass(frozen=True)
class StudyOptions:
    """The properties of a new study, which an existing one must have; None for those not given."""

    size_px: int | None = None
    kind: StudyKind | None = None
    title: str | None = None
    question: str | None = None
    seed: int | None = None

    def new(self, name: str, size_px: int, mpp: float | None = None) -> NewStudy:
        """The study that is made if there is none."""
        kind = self.kind or StudyKind.PAIRS
        return NewStudy(name, size_px, kind, self.title or "", self.question or "", self.seed, mpp)

    def wanted_size(self, study: str) -> int:
        """The size of the pictures of a new study.

        Raises:
            UsageError: It was not asked for.
        """
        if self.size_px is None:
            raise UsageError(f"there is no study '{study}' yet: give --size, the side of its pictures in pixels")
        return self.size_px


def run_import(settings: Settings, request: ImportRequest, options: StudyOptions) -> None:
    """Imports images and prints the outcomes.

    Raises:
        UsageError: See `import_images`; or a new study has no size, or an old one is not like the options.
        ImageError: An image is damaged.
    """

    def new() -> NewStudy:
        size_px = options.wanted_size(request.study)
        check_sizes(request, size_px)
        return options.new(request.study, size_px)

    with opened(settings) as database:
        _study(database, request.study, options, new)
        _print_notes(side_notes(request))
        _show("images", import_images(database, settings.images, request))


def run_crops(settings: Settings, request: CropRequest, options: StudyOptions) -> None:
    """Imports crops of slides and prints the outcomes.

    Raises:
        UsageError: See `import_crops`; or no crop has enough tissue; or see `run_import`.
        PlanError: See `import_crops`.
        SlideError: A slide cannot be read.
    """

    def new() -> NewStudy:
        size_px = options.wanted_size(request.study)
        request.check_size(size_px)
        return options.new(request.study, size_px)

    with opened(settings) as database:
        _study(database, request.study, options, new)
        _print_notes(request.sources.notes())
        counts = _show("pairs", import_crops(database, settings.images, request))[request.sources.version]
    stored = counts[Outcome.NEW] + counts[Outcome.KNOWN]
    if not stored:
        raise UsageError(f"none of {counts.total():,} pairs of crops has enough tissue: give a smaller --min-tissue")
    if stored < request.count:
        say(f"note: {stored:,} of {request.count:,} pairs; the other crops of the plan have too little tissue")


def run_slides(settings: Settings, request: SlideRequest, options: StudyOptions) -> None:
    """Imports whole slides and prints the outcomes.

    Raises:
        UsageError: See `import_slides`; or an old study is not like the options.
        SlideError: A slide cannot be read.
    """

    def new() -> NewStudy:
        return options.new(request.study, request.size_px, request.sources.mpp)

    with opened(settings) as database:
        study = _study(database, request.study, options, new)
        field_um = study.size_px * (study.mpp or 0)
        say(f"a field of {field_um:,.0f} micrometres of each slide, {study.size_px:,} px at {study.mpp:.4g} um/px")
        _print_notes(request.notes(field_um))
        _show("tiles", import_slides(database, settings.images, request))


def _study(database: Database, name: str, options: StudyOptions, new: Callable[[], NewStudy]) -> Study:
    """Returns the study of a name, which has to agree with the options, or makes it."""
    with database.writing() as session:
        study = session.scalar(select(Study).where(Study.name == name))
        if study is None:
            return create_study(session, new(), now=datetime.now(UTC))
        for option, wanted in vars(options).items():
            if wanted is not None and wanted != getattr(study, option):
                raise UsageError(f"the study '{name}' is there, with {option} {getattr(study, option)}")
        return study


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        say(f"note: {note}")


def _show(what: str, events: Iterable[Imported]) -> dict[str, Counter[Outcome]]:
    """Shows the progress of an import, then prints and returns the outcomes of each side."""
    outcomes: dict[str, Counter[Outcome]] = {}
    with progress_bars() as bars:
        bar = bars.add_task(what, total=None)
        for event in events:
            if event.outcome is not None:
                outcomes.setdefault(event.side, Counter())[event.outcome] += 1
            bars.update(bar, completed=event.done, total=event.total)
    for side, counts in outcomes.items():
        say(f"{side}: {outcomes_text(counts)}")
    return outcomes


def outcomes_text(counts: Counter[Outcome]) -> str:
    """Outcomes of images, in words."""
    return ", ".join(f"{counts[outcome]:,} {_WORDS[outcome]}" for outcome in Outcome if counts[outcome])
