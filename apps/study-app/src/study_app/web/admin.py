"""What those who run studies see."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from study_app.database import Study
from study_app.studies import study_progress
from study_app.web.site import site
from study_app.web.visitors import require_admin

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(require_admin)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """All studies, and how far their readers are."""
    with site().database.reading() as session:
        studies = session.scalars(select(Study).order_by(Study.created.desc(), Study.id.desc())).all()
        progress = [(study, study_progress(session, study)) for study in studies]
    return render_template("admin/index.html", studies=progress)
