"""`study-app import`: images of two folders into a study, which is made if there is none."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from study_app.console import progress_bars, say
from study_app.database import Database, Study, StudyKind
from study_app.errors import UsageError
from study_app.images.importing import REAL, ImportRequest, check_sizes, import_images, side_notes
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
    """What a new study is to be like, and what an old one has to be like; None for what was not asked for."""

    size_px: int | None
    kind: StudyKind | None
    title: str | None
    question: str | None
    seed: int | None


def run_import(settings: Settings, request: ImportRequest, options: StudyOptions) -> None:
    """Imports images, and tells what became of them.

    Raises:
        UsageError: See `import_images`; or a new study has no size, or an old one is not like the options.
        ImageError: An image is damaged.
    """
    with opened(settings) as database:
        _make_sure(database, request, options)
        for note in side_notes(request):
            say(f"note: {note}")
        outcomes: dict[str, Counter[Outcome]] = {REAL: Counter(), request.version: Counter()}
        with progress_bars() as bars:
            bar = bars.add_task("images", total=None)
            for each in import_images(database, settings.images, request):
                outcomes[each.side][each.outcome] += 1
                bars.update(bar, completed=each.done, total=each.total)
    for side, counts in outcomes.items():
        say(f"{side}: " + ", ".join(f"{counts[outcome]:,} {_WORDS[outcome]}" for outcome in Outcome if counts[outcome]))


def _make_sure(database: Database, request: ImportRequest, options: StudyOptions) -> None:
    """Makes the study if there is none."""
    with database.writing() as session:
        study = session.scalar(select(Study).where(Study.name == request.study))
        if study is not None:
            for name, wanted in vars(options).items():
                if wanted is not None and wanted != getattr(study, name):
                    raise UsageError(f"the study '{study.name}' is there, with {name} {getattr(study, name)}")
            return
        if options.size_px is None:
            raise UsageError(
                f"there is no study '{request.study}' yet: give --size, the side of its pictures in pixels"
            )
        check_sizes(request, options.size_px)
        new = NewStudy(
            request.study,
            options.size_px,
            options.kind or StudyKind.PAIRS,
            options.title or "",
            options.question or "",
            options.seed,
        )
        create_study(session, new, now=datetime.now(UTC))
