"""Pages of readers: choose a study, look, answer, undo, pause.

Each address of a study takes forms, and sends on to a page, or JSON, and answers where the reader is:

    {"open": true, "done": 3, "total": 20, "undoable": TOKEN or null,
     "current": {"showing": TOKEN, "pictures": [ADDRESS, ADDRESS]} or null, "following": the same or null}

with "error", and status 409, if what was sent does not fit. Nothing of it tells whether an answer was correct.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from study_app.database import StudyKind, StudyState
from study_app.studies import (
    Conflict,
    ReaderState,
    Shown,
    answer,
    correct_of,
    mark_shown,
    progress_of,
    reader_of,
    reader_state,
    sit,
    studies_of,
    undo,
)
from study_app.studies import pause as end_sitting
from study_app.studies.answering import choices
from study_app.web.site import site, wants_json
from study_app.web.visitors import require_visitor, visitor

blueprint = Blueprint("reader", __name__)
blueprint.before_request(require_visitor)


@blueprint.get("/")
def studies() -> ResponseReturnValue:
    """The reader's studies, and how far they are."""
    with site().database.reading() as session:
        mine = [(reader.study, *progress_of(session, reader)) for reader in studies_of(session, visitor().user_id)]
    return render_template("studies.html", studies=mine)


@blueprint.get("/studies/<name>")
def study(name: str) -> ResponseReturnValue:
    """The page of a study: what is to be looked at now, to see which begins or continues a sitting; or the end.

    When the pictures are on screen the page itself says, by `shown`: loading them takes a while.
    """
    now = site().clock()
    with site().database.writing() as session:
        reader = reader_of(session, name, visitor().user_id, lock=True)
        where = reader_state(session, reader, now=now)
        if where.current:
            sit(session, reader, now=now, idle=site().sitting_idle)
        is_told = not where.is_open and reader.study.results_shown
        correct = correct_of(session, reader) if is_told else None
    if where.current is None:
        return render_template("finished.html", study=reader.study, state=where, correct=correct)
    kind = reader.study.kind
    page = "slides.html" if kind is StudyKind.SLIDES else "pair.html"
    return render_template(page, study=reader.study, state=where, document=_document(where), choices=choices(kind))


@blueprint.get("/studies/<name>/state")
def state(name: str) -> ResponseReturnValue:
    """The reader's state, as JSON."""
    with site().database.writing() as session:
        where = reader_state(session, reader_of(session, name, visitor().user_id, lock=True), now=site().clock())
    return jsonify(_document(where))


@blueprint.post("/studies/<name>/answers")
def answers(name: str) -> ResponseReturnValue:
    """Takes an answer: `showing` and `chosen`. It is on disk when this confirms it."""
    return _done(name, answer, _sent("showing"), _sent("chosen"), idle=site().sitting_idle)


@blueprint.post("/studies/<name>/undo")
def undone(name: str) -> ResponseReturnValue:
    """Undoes the last answer: `showing` is what it named."""
    return _done(name, undo, _sent("showing"))


@blueprint.post("/studies/<name>/shown")
def shown(name: str) -> ResponseReturnValue:
    """Says that an item, `showing`, is on screen now."""
    token, now = _sent("showing"), site().clock()
    with site().database.writing() as session:
        reader = reader_of(session, name, visitor().user_id, lock=True)
        if reader.study.state is StudyState.OPEN:
            mark_shown(session, reader, token, now=now)
            sit(session, reader, now=now, idle=site().sitting_idle)
    return "", 204


@blueprint.get("/studies/<name>/pause")
def paused(name: str) -> ResponseReturnValue:
    """The page of a pause, without pictures: a link goes on."""
    with site().database.reading() as session:
        reader = reader_of(session, name, visitor().user_id)
        done, total = progress_of(session, reader)
    return render_template("paused.html", study=reader.study, done=done, total=total)


@blueprint.post("/studies/<name>/pause")
def pause(name: str) -> ResponseReturnValue:
    """Ends the sitting; the next look at the page begins another."""
    with site().database.writing() as session:
        end_sitting(session, reader_of(session, name, visitor().user_id, lock=True), now=site().clock())
    return ("", 204) if wants_json() else redirect(url_for("reader.paused", name=name), 303)


def _sent(field: str) -> str:
    values: Any = request.get_json(silent=True) if request.is_json else request.form
    value = values.get(field) if hasattr(values, "get") else None
    if not isinstance(value, str) or not value.isprintable():  # databases refuse halves of characters, and zeros
        abort(400)
    return value


def _done(name: str, what: Callable[..., None], *sent: str, **how: Any) -> ResponseReturnValue:
    """Does what was asked for, and tells where the reader is then."""
    now, conflict = site().clock(), None
    with site().database.writing() as session:
        reader = reader_of(session, name, visitor().user_id, lock=True)
        try:
            what(session, reader, *sent, now=now, **how)
        except Conflict as error:
            conflict = str(error)
        where = reader_state(session, reader, now=now)
    if wants_json():
        document = _document(where)
        return (jsonify(document), 200) if conflict is None else (jsonify(document | {"error": conflict}), 409)
    if conflict:
        flash(f"Not accepted: {conflict}. This is your current position.")
    return redirect(url_for("reader.study", name=name), 303)


def _document(where: ReaderState) -> dict[str, Any]:
    return {
        "open": where.is_open,
        "done": where.done,
        "total": where.total,
        "current": _shown(where.current),
        "following": _shown(where.following),
        "undoable": where.undoable,
    }


def _shown(item: Shown | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {"showing": item.token, "pictures": [url_for("media.picture", token=token) for token in item.pictures]}
