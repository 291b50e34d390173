"""Studies: all of them, one of them, and what can be done with it."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from run_folder import UsageError
from study_app.database import Study, StudyKind, User
from study_app.reporting.facts import StudyFacts, reader_labels, study_facts
from study_app.studies import NewStudy, change_study, close_study, create_study, open_study, study_named
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.live import live_findings
from study_app.web.admin.sent import number, text, whole_number
from study_app.web.site import site


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """All studies, the latest first, with the progress of their readers."""
    with site().database.reading() as session:
        studies = session.scalars(select(Study).order_by(Study.created.desc(), Study.id.desc())).all()
        facts = [study_facts(session, study, reader_labels(session, study, named=True)) for study in studies]
    return render_template("admin/index.html", studies=facts)


@blueprint.get("/new-study")
def new_study() -> ResponseReturnValue:
    """The form of a new study."""
    return render_template("admin/new_study.html", sent={}, wrong="")


@blueprint.post("/new-study")
def make_study() -> ResponseReturnValue:
    """Makes a study; the form shows invalid input again with an error."""
    try:
        new = NewStudy(
            text("name"),
            whole_number("size_px"),
            _kind(text("kind")),
            text("title"),
            text("question"),
            whole_number("seed") if text("seed") else None,
            margin=number("margin"),
        )
        with site().database.writing() as session:
            create_study(session, new, now=site().clock())
    except UsageError as error:
        return render_template("admin/new_study.html", sent=request.form, wrong=str(error)), 400
    flash("Made. Now import its images.")
    return redirect(url_for("admin.images", name=new.name), 303)


@blueprint.get("/studies/<name>")
def study(name: str) -> ResponseReturnValue:
    """A study: its state, its readers with their progress, its settings."""
    with site().database.reading() as session:
        row = study_named(session, name)
        facts = study_facts(session, row, reader_labels(session, row, named=True))
        users = session.scalars(select(User).order_by(User.name)).all()
    return render_template(
        "admin/study.html",
        study=row,
        facts=facts,
        users={user.name: user for user in users},
        medians=_medians(facts),
    )


@blueprint.post("/studies/<name>/open")
def open_(name: str) -> ResponseReturnValue:
    """Opens a study."""
    with site().database.writing() as session:
        count = open_study(session, study_named(session, name, lock=True), site().settings.images, now=site().clock())
    flash(f"Open, with {count:,} to answer.")
    return redirect(url_for("admin.study", name=name), 303)


@blueprint.post("/studies/<name>/close")
def close(name: str) -> ResponseReturnValue:
    """Closes a study."""
    with site().database.writing() as session:
        close_study(study_named(session, name, lock=True), now=site().clock())
    flash("Closed: no answers are taken any more.")
    return redirect(url_for("admin.study", name=name), 303)


@blueprint.post("/studies/<name>/settings")
def change(name: str) -> ResponseReturnValue:
    """Changes the texts and settings of a study."""
    with site().database.writing() as session:
        row = study_named(session, name, lock=True)
        change_study(
            row,
            title=text("title"),
            question=text("question"),
            margin=number("margin"),
            results_shown=bool(text("results_shown")),
        )
    flash("Changed.")
    return redirect(url_for("admin.study", name=name), 303)


def _kind(sent: str) -> StudyKind:
    """The kind of a study of pictures; studies of whole slides have a separate form."""
    kinds = (StudyKind.PAIRS, StudyKind.SINGLE)
    if sent not in kinds:
        raise UsageError(f"'{sent}' is no kind of study that is made here: there are {' and '.join(kinds)}")
    return StudyKind(sent)


def _medians(facts: StudyFacts) -> dict[str, float]:
    """The median response time of each reader who has one."""
    if not facts.answered:
        return {}
    times = live_findings(facts.name).findings.whole["times"]
    return {} if times.missing else dict(times.result.frame["median"])
