"""The report of a study: its facts and findings, as values for a page or for JSON."""

import json
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy.orm import Session

from study_app.database import Study
from study_app.reporting.facts import StudyFacts, reader_labels, study_facts
from study_app.reporting.findings import AnyAnswers, Finding, Findings, study_findings
from study_app.reporting.pictures import synthetic_images
from study_app.studies import answers_of


@dataclass(frozen=True)
class StudyRecord:
    """All that a report is made of.

    Attributes:
        facts: The study without its answers.
        answers: The answers that count, by readers as the facts name them.
        files: Of each synthetic image, as the answers name it, the file below the folder of images.
        named: Whether readers are named.
    """

    facts: StudyFacts
    answers: AnyAnswers
    files: dict[str, str]
    named: bool


@dataclass(frozen=True)
class StudyReport:
    """The results of a study.

    Attributes:
        record: What it is made of.
        findings: What the answers say.
        margin: That of the test of equivalence.
        seed: What resamples were drawn from.
        made: When.
    """

    record: StudyRecord
    findings: Findings
    margin: float
    seed: int
    made: datetime


def study_record(session: Session, study: Study, *, named: bool) -> StudyRecord:
    """Reads a study with its answers.

    Args:
        session: The session.
        study: The study.
        named: Calls readers by their names, and not 'reader 1' and so on, and tells when they were at work.
    """
    labels = reader_labels(session, study, named=named)
    facts, answers = study_facts(session, study, labels), answers_of(session, study)
    if not named:
        # When somebody was at work tells who it is.
        readers = [replace(each, last_answer=None, last_seen=None) for each in facts.readers]
        facts = replace(facts, readers=tuple(readers))
        answers = type(answers)(answers.frame.assign(reader=answers.frame["reader"].map(labels).astype(str)))
    files = {name: image.file for name, image in synthetic_images(session, study).items()}
    return StudyRecord(facts, answers, files, named)


def study_report(record: StudyRecord, *, margin: float | None = None, seed: int = 0, now: datetime) -> StudyReport:
    """Works out a report, however few the answers are.

    Args:
        record: Of the study.
        margin: Of the test of equivalence; None for the one that was settled before the study.
        seed: Resamples are drawn from it.
        now: The time.
    """
    margin = record.facts.margin if margin is None else margin
    findings = study_findings(record.answers, record.facts.versions, margin=margin, seed=seed)
    return StudyReport(record, findings, margin, seed, now)


def report_document(report: StudyReport) -> dict[str, Any]:
    """A report in plain values, for JSON; NaN becomes null."""
    document: dict[str, Any] = plain(
        {
            "study": report.record.facts,
            "made": report.made,
            "study_app": version("study-app"),
            "study_stats": version("study-stats"),
            "margin": report.margin,
            "seed": report.seed,
            "versions": {name: _results(found) for name, found in report.findings.versions.items()},
            "whole": _results(report.findings.whole),
        }
    )
    return document


def is_report_document(path: Path) -> bool:
    """Whether a file has the document of a report, and may be replaced."""
    try:
        return {"study", "made", "study_app", "study_stats"} <= set(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def plain(value: Any) -> Any:
    """Turns values and results of study-stats into those that JSON knows."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.reset_index().to_dict("records")]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if is_dataclass(value):
        # The times of single answers are in what `export` writes.
        return {each.name: plain(getattr(value, each.name)) for each in fields(value) if each.name != "times"}
    return value


def _results(found: dict[str, Finding]) -> dict[str, Any]:
    return {name: {"missing": each.missing} if each.missing else each.result for name, each in found.items()}
