"""Results of a study: statistics, reports, files."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Response, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from study_app.exporting import export_study
from study_app.studies import study_named
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.live import live_findings
from study_app.web.admin.recent import recent
from study_app.web.site import site

_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""Policy of a report, a single file with style and pictures embedded, without scripts and forms."""
_TYPES = {"csv": "text/csv", "json": "application/json"}


@blueprint.get("/studies/<name>/statistics")
def statistics(name: str) -> ResponseReturnValue:
    """The results so far."""
    from study_app.reporting.page import gallery

    live = live_findings(name)
    return render_template(
        "admin/statistics.html",
        facts=live.record.facts,
        findings=live.findings,
        made=live.made,
        gallery=lambda finding: gallery(
            finding, live.record.files, lambda file: url_for("admin.thumbnail", name=name, file=Path(file).name)
        ),
    )


@blueprint.get("/studies/<name>/report.<ending>")
def report(name: str, ending: str) -> ResponseReturnValue:
    """The report as a page, or its values as JSON; `?names=yes` names the readers."""
    from study_app.reporting.page import report_page
    from study_app.reporting.study_report import report_document, study_record, study_report

    if ending not in ("html", "json"):
        abort(404)
    named, now = request.args.get("names") == "yes", site().clock()

    def make() -> str:
        with site().database.reading() as session:
            record = study_record(session, study_named(session, name), named=named)
        result = study_report(record, now=now)
        if ending == "html":
            return report_page(result, site().settings.images)
        return json.dumps(report_document(result), indent=1, ensure_ascii=False) + "\n"

    made = recent().get(("report", name, named, ending), now, make)
    if ending == "json":
        return _attached(made.encode(), f"{name}-report.json")
    return Response(made, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _REPORT_POLICY})


@blueprint.get("/studies/<name>/export.<ending>")
def export(name: str, ending: str) -> ResponseReturnValue:
    """All answers, as `study-app export` writes them."""
    if ending not in _TYPES:
        abort(404)
    with TemporaryDirectory() as folder, site().database.reading() as session:
        path = Path(folder) / f"{name}.{ending}"
        export_study(session, study_named(session, name), path)
        return _attached(path.read_bytes(), path.name)


def _attached(contents: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(contents, content_type=f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8", headers=headers)
