"""The administration as a whole: who may come in, and how refusals are shown."""

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from run_folder import UsageError
from study_app.reporting.figures_text import FILTERS
from study_app.studies import NoStudyError
from study_app.web.admin.recent import EXTENSION, Recent
from study_app.web.visitors import require_admin

_IMPORTS = ("admin.upload", "admin.import_folders", "admin.import_crops", "admin.import_slides")
blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(require_admin)


@blueprint.record_once
def _set_up(state: BlueprintSetupState) -> None:
    state.app.extensions[EXTENSION] = Recent()
    state.app.jinja_env.filters.update(FILTERS)


@blueprint.errorhandler(NoStudyError)
def _nothing(_: NoStudyError) -> ResponseReturnValue:
    return current_app.handle_user_exception(NotFound())


@blueprint.errorhandler(UsageError)
def _refused(error: UsageError) -> ResponseReturnValue:
    """Tells why a change was refused, on the page that it was asked for on."""
    if request.method != "POST":
        return render_template("error.html", text=str(error)), 400
    flash(str(error))
    name = (request.view_args or {}).get("name")
    if name is None:
        return redirect(url_for("admin.users"), 303)
    page = "admin.images" if request.endpoint in _IMPORTS else "admin.study"
    return redirect(url_for(page, name=name), 303)
