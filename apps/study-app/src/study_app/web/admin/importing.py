"""A page that is streamed while images are imported, so that proxies do not time out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, stream_template

from run_folder import UsageError
from study_app.database import Study
from study_app.errors import user_message

if TYPE_CHECKING:
    from study_app.images.importing import Imported

_STEPS = 20
"""Largest number of progress lines of an import."""


@contextmanager
def mended(root: Path) -> Iterator[None]:
    """Converts users' errors to UsageError, which the administration pages show.

    Args:
        root: Folder whose path is removed from the messages.
    """
    try:
        yield
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        raise UsageError(message.replace(f"{root}/", "")) from None


def importing_page(study: Study, notes: Iterable[str], events: Iterable["Imported"], root: Path) -> Response:
    """Imports while the page is sent; leaving the page stops the import, and images imported by then are kept.

    Args:
        study: The study.
        notes: Notes for administrators.
        events: Events of the import.
        root: Folder whose path is removed from the messages.
    """
    lines = (line.replace(f"{root}/", "") for line in _lines(notes, events))
    page = stream_template("admin/importing.html", study=study, lines=lines)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # otherwise nginx buffers the page until it is complete
    return response


def _lines(notes: Iterable[str], events: Iterable["Imported"]) -> Iterator[str]:
    from study_app.importing import outcomes_text

    counts: dict[str, Counter[Any]] = {}
    last_step = 0
    yield from (f"Note: {note}." for note in notes)
    try:
        for event in events:
            if event.outcome is not None:
                counts.setdefault(event.side, Counter())[event.outcome] += 1
            step = _STEPS * event.done // max(event.total, 1)
            if step > last_step:
                last_step = step
                yield f"{event.done:,} of {event.total:,}"
    except Exception as error:
        message = user_message(error)
        if message is None:
            current_app.logger.exception("an import failed")
        yield f"Stopped: {message or 'something went wrong'}. What is imported is kept."
    yield from (f"{side}: {outcomes_text(outcomes)}." for side, outcomes in counts.items())
