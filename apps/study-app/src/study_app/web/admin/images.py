"""The images of a study, for administrators: overview, thumbnails and imports."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flask import Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy import select
from werkzeug.datastructures import FileStorage

from run_folder import UsageError
from study_app.database import Image, Study
from study_app.images.server_folders import server_folder, server_folders
from study_app.images.uploads import unpack_pictures
from study_app.reporting.facts import reader_labels, study_facts
from study_app.studies import study_named
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.importing import importing_page, mended
from study_app.web.admin.sent import number, text, whole_number
from study_app.web.site import site

if TYPE_CHECKING:
    from study_app.images.scaled import SlideSources

UNPACKED = 4
"""How many times larger than an upload its pictures may be."""


@blueprint.url_value_preprocessor
def _allow_uploads(endpoint: str | None, _: dict[str, Any] | None) -> None:
    """Allows large requests for administrators only, before anything reads the request."""
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
    """A thumbnail of an image."""
    from study_app.reporting.pictures import MEDIA_TYPE, thumbnail

    with site().database.reading() as session:
        study = study_named(session, name)
        known = session.scalar(select(Image.file).where(Image.study_id == study.id, Image.file == f"{name}/{file}"))
    if known is None:
        abort(404)
    response = Response(thumbnail(site().settings.images / known), content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@blueprint.post("/studies/<name>/images/upload")
def upload(name: str) -> ResponseReturnValue:
    """Imports the pictures of two zip files."""
    study = _study(name)
    unpacked = TemporaryDirectory(prefix="study-app-")
    root = Path(unpacked.name)
    try:
        response = _imported(study, _unpacked("real", root), _unpacked("synthetic", root), root)
    except BaseException:
        unpacked.cleanup()
        raise
    response.call_on_close(unpacked.cleanup)
    return response


@blueprint.post("/studies/<name>/images/folders")
def import_folders(name: str) -> ResponseReturnValue:
    """Imports the pictures of two folders on the server."""
    study, root = _study(name), site().settings.import_root
    return _imported(study, server_folder(root, text("real")), server_folder(root, text("synthetic")), root)


@blueprint.post("/studies/<name>/images/crops")
def import_crops(name: str) -> ResponseReturnValue:
    """Imports random crops of the slides in two folders on the server."""
    from study_app.images.crops import CropRequest
    from study_app.images.crops import import_crops as crops_of

    study, root = _study(name), site().settings.import_root
    with mended(root):
        wanted = CropRequest(name, slide_sources(root), whole_number("count"), number("min_tissue"))
        wanted.check_size(study.size_px)
    events = crops_of(site().database, site().settings.images, wanted)
    return importing_page(study, wanted.sources.notes(), events, root)


@blueprint.post("/studies/<name>/images/slides")
def import_slides(name: str) -> ResponseReturnValue:
    """Imports the slides in two folders on the server into a study of whole slides, or continues the import."""
    from study_app.images.slides import SlideRequest
    from study_app.images.slides import import_slides as slides_of

    study, root = _study(name), site().settings.import_root
    with mended(root):
        wanted = SlideRequest(name, slide_sources(root))
    events = slides_of(site().database, site().settings.images, wanted)
    return importing_page(study, wanted.notes(study.size_px * (study.mpp or 0)), events, root)


def slide_sources(root: Path) -> "SlideSources":
    """The slides in the two folders on the server and the version that a form names.

    Raises:
        UsageError: A folder is not among those for imports, or the version is invalid.
        SlideError: A slide cannot be read.
    """
    from study_app.images.scaled import SlideSources
    from wsi_tiling import slide_files

    real, synthetic = (tuple(slide_files([server_folder(root, text(side))])) for side in ("real", "synthetic"))
    return SlideSources(real, synthetic, text("version"), number("mpp") if text("mpp") else None)


def _study(name: str) -> Study:
    with site().database.reading() as session:
        return study_named(session, name)


def _unpacked(side: str, folder: Path) -> Path:
    sent: FileStorage | None = request.files.get(side)
    if sent is None or not sent.filename:
        raise UsageError(f"no zip file of {side} images was sent")
    try:
        unpack_pictures(sent.stream, folder / side, most_bytes=UNPACKED * site().settings.upload_bytes)
    except UsageError as error:
        raise UsageError(f"the zip file of {side} images: {error}") from None
    return folder / side


def _imported(study: Study, real: Path, synthetic: Path, root: Path) -> Response:
    from study_app.images.importing import ImportRequest, check_sizes, import_images, side_notes

    with mended(root):
        wanted = ImportRequest(study.name, real, synthetic, text("version"), number("min_tissue"))
        check_sizes(wanted, study.size_px)
    events = import_images(site().database, site().settings.images, wanted)
    return importing_page(study, side_notes(wanted), events, root)
