"""New studies of whole slides, made and filled in one request because field and scale come from the slides."""

from flask import render_template, request
from flask.typing import ResponseReturnValue

from run_folder import UsageError
from study_app.database import StudyKind
from study_app.images.server_folders import server_folders
from study_app.studies import NewStudy, create_study
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.images import slide_sources
from study_app.web.admin.importing import importing_page, mended
from study_app.web.admin.sent import number, text, whole_number
from study_app.web.site import site


@blueprint.get("/new-slide-study")
def new_slide_study() -> ResponseReturnValue:
    """The form of a new study of whole slides."""
    return _form()


@blueprint.post("/new-slide-study")
def make_slide_study() -> ResponseReturnValue:
    """Makes a study and imports its slides; the form shows invalid input again with an error."""
    from study_app.images.slides import SlideRequest, import_slides

    root = site().settings.import_root
    try:
        with mended(root):
            field_um = number("field_um") if text("field_um") else None
            wanted = SlideRequest(text("name"), slide_sources(root), field_um)
            new = NewStudy(
                wanted.study,
                wanted.size_px,
                StudyKind.SLIDES,
                text("title"),
                text("question"),
                whole_number("seed") if text("seed") else None,
                wanted.sources.mpp,
                number("margin"),
            )
        with site().database.writing() as session:
            study = create_study(session, new, now=site().clock())
    except UsageError as error:
        return _form(str(error)), 400
    events = import_slides(site().database, site().settings.images, wanted)
    return importing_page(study, wanted.notes(study.size_px * wanted.sources.mpp), events, root)


def _form(wrong: str = "") -> str:
    root = site().settings.import_root
    return render_template(
        "admin/new_slide_study.html",
        sent=request.form,
        wrong=wrong,
        folders=server_folders(root),
        import_root=root.absolute(),
    )
