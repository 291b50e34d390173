"""The images of a study, for those who run it: what there is, small pictures of it, and importing more."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flask import Response, abort, current_app, render_template, request, stream_template
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy import select
from werkzeug.datastructures import FileStorage

from study_app.database import Image
from study_app.errors import UsageError, user_message
from study_app.images.server_folders import server_folder, server_folders
from study_app.images.uploads import unpack_pictures
from study_app.reporting.facts import reader_labels, study_facts
from study_app.studies import study_named
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.sent import number, text
from study_app.web.site import site

if TYPE_CHECKING:
    from study_app.images.importing import ImportRequest

TOLD_EVERY = 25
"""Images that are imported between two lines that say how many."""
UNPACKED = 4
"""How many times larger than an upload its pictures may be."""


@blueprint.url_value_preprocessor
def _allow_uploads(endpoint: str | None, _: dict[str, Any] | None) -> None:
    """Lets administrators, and nobody else, send what is large. It goes before anything reads the request."""
    if endpoint == "admin.upload" and current_user.is_authenticated and current_user.is_admin:
        request.max_content_length = site().settings.upload_bytes


@blueprint.get("/studies/<name>/images")
def images(name: str) -> ResponseReturnValue:
    """The images of a study, and the forms to import more."""
    settings = site().settings
    with site().database.reading() as session:
        study = study_named(session, name)
        facts = study_facts(session, study, reader_labels(session, study, named=True))
    return render_template(
        "admin/images.html",
        facts=facts,
        folders=server_folders(settings.import_root),
        import_root=settings.import_root.absolute(),
        upload_mib=settings.upload_mib,
    )


@blueprint.get("/studies/<name>/images/<file>")
def thumbnail(name: str, file: str) -> ResponseReturnValue:
    """A small picture of an image."""
    from study_app.reporting.pictures import MEDIA_TYPE, thumbnail

    with site().database.reading() as session:
        study = study_named(session, name)
        found = session.scalar(select(Image.file).where(Image.study_id == study.id, Image.file == f"{name}/{file}"))
    if found is None:
        abort(404)
    response = Response(thumbnail(site().settings.images / found), content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@blueprint.post("/studies/<name>/images/upload")
def upload(name: str) -> ResponseReturnValue:
    """Imports the pictures of two zip files."""
    unpacked = TemporaryDirectory(prefix="study-app-")
    try:
        sides = [_unpacked(side, Path(unpacked.name)) for side in ("real", "synthetic")]
        response = _imported(name, *sides, shown_without=f"{unpacked.name}/")
    except BaseException:
        unpacked.cleanup()
        raise
    response.call_on_close(unpacked.cleanup)
    return response


@blueprint.post("/studies/<name>/images/folders")
def import_folders(name: str) -> ResponseReturnValue:
    """Imports the pictures of two folders on the server."""
    root = site().settings.import_root
    return _imported(
        name, *(server_folder(root, text(side)) for side in ("real", "synthetic")), shown_without=f"{root}/"
    )


def _unpacked(side: str, folder: Path) -> Path:
    sent: FileStorage | None = request.files.get(side)
    if sent is None or not sent.filename:
        raise UsageError(f"no zip file of {side} images was sent")
    try:
        unpack_pictures(sent.stream, folder / side, most_bytes=UNPACKED * site().settings.upload_bytes)
    except UsageError as error:
        raise UsageError(f"the zip file of {side} images: {error}") from None
    return folder / side


def _imported(name: str, real: Path, synthetic: Path, *, shown_without: str) -> Response:
    """A page that grows while images are imported, so that no proxy takes the server for dead."""
    from study_app.images.importing import ImportRequest, check_sizes

    with site().database.reading() as session:
        study = study_named(session, name)
    try:
        wanted = ImportRequest(name, real, synthetic, text("version"), number("min_tissue"))
        check_sizes(wanted, study.size_px)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        raise UsageError(message.replace(shown_without, "")) from None
    lines = (line.replace(shown_without, "") for line in _lines(wanted))
    page = stream_template("admin/importing.html", study=study, lines=lines)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the page until it is whole
    return response


def _lines(wanted: "ImportRequest") -> Iterator[str]:
    """Imports images, and tells how far it is."""
    from study_app.images.importing import import_images, side_notes
    from study_app.importing import outcomes_text

    counts: dict[str, Counter[Any]] = {}
    yield from (f"Note: {note}." for note in side_notes(wanted))
    try:
        for each in import_images(site().database, site().settings.images, wanted):
            counts.setdefault(each.side, Counter())[each.outcome] += 1
            if each.done % TOLD_EVERY == 0 or each.done == each.total:
                yield f"{each.done:,} of {each.total:,} images"
    except Exception as error:
        message = user_message(error)
        if message is None:
            current_app.logger.exception("an import failed")
        yield f"Stopped: {message or 'something went wrong'}. What is imported is kept."
    yield from (f"{side}: {outcomes_text(found)}." for side, found in counts.items())
