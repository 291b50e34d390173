"""A reader's own result, once the study is closed and if its administrators allow it."""

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from study_app.database import StudyState
from study_app.studies import reader_of
from study_app.web.site import site
from study_app.web.visitors import require_visitor, visitor

blueprint = Blueprint("results", __name__)
blueprint.before_request(require_visitor)


@blueprint.get("/studies/<name>/results")
def own(name: str) -> ResponseReturnValue:
    """The reader's own result; nothing of other readers."""
    from study_app.reporting.own_result import own_result

    with site().database.reading() as session:
        reader = reader_of(session, name, visitor().user_id)
        if reader.study.state is not StudyState.CLOSED or not reader.study.results_shown:
            abort(404)
        result = own_result(session, reader)
    return render_template("own_result.html", study=reader.study, result=result)
