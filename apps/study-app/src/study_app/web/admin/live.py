"""Results while a study runs, computed on demand and cached."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from study_app.studies import study_named
from study_app.web.admin.recent import recent
from study_app.web.site import site

if TYPE_CHECKING:
    from study_app.reporting.findings import Findings
    from study_app.reporting.study_report import StudyRecord


@dataclass(frozen=True)
class Live:
    """Recent results of a study.

    Attributes:
        record: The study and its answers, with the readers' names.
        findings: Results without resampling or models.
        made: Time of the results.
    """

    record: "StudyRecord"
    findings: "Findings"
    made: datetime


def live_findings(name: str) -> Live:
    """The results of a study.

    Raises:
        NoStudyError: The study does not exist.
    """
    from study_app.reporting.findings import QUICK, study_findings
    from study_app.reporting.study_report import study_record

    now = site().clock()

    def make() -> Live:
        with site().database.reading() as session:
            record = study_record(session, study_named(session, name), named=True)
        findings = study_findings(record.answers, record.facts.versions, margin=record.facts.margin, names=QUICK)
        return Live(record, findings, now)

    return recent().get(("live", name), now, make)
