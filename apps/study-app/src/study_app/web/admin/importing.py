"""A page that grows while images are imported, so that no proxy takes the server for dead."""

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
"""Lines that tell how far an import is, at most."""


@contextmanager
def mended(root: Path) -> Iterator[None]:
    """Turns errors that a user can mend into one kind, which the administration tells.

    Args:
        root: A folder that is not to be told of.
    """
    try:
        yield
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        raise UsageError(message.replace(f"{root}/", "")) from None


def importing_page(study: Study, notes: Iterable[str], events: Iterable["Imported"], root: Path) -> Response:
    """Imports while the page is sent; whoever leaves it stops the import, and what is imported by then is kept.

    Args:
        study: The study.
        notes: What whoever runs the study should know.
        events: The import.
        root: A folder that is not to be told of.
    """
    lines = (line.replace(f"{root}/", "") for line in _lines(notes, events))
    page = stream_template("admin/importing.html", study=study, lines=lines)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the page until it is whole
    return response


def _lines(notes: Iterable[str], events: Iterable["Imported"]) -> Iterator[str]:
    from study_app.importing import outcomes_text

    counts: dict[str, Counter[Any]] = {}
    told = 0
    yield from (f"Note: {note}." for note in notes)
    try:
        for each in events:
            if each.outcome is not None:
                counts.setdefault(each.side, Counter())[each.outcome] += 1
            step = _STEPS * each.done // max(each.total, 1)
            if step > told:
                told = step
                yield f"{each.done:,} of {each.total:,}"
    except Exception as error:
        message = user_message(error)
        if message is None:
            current_app.logger.exception("an import failed")
        yield f"Stopped: {message or 'something went wrong'}. What is imported is kept."
    yield from (f"{side}: {outcomes_text(found)}." for side, found in counts.items())
