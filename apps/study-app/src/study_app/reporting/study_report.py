"""The report of a study: its facts and findings, as values for a page and for JSON."""

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
    """The data that a report is made from.

    Attributes:
        facts: Facts of the study.
        answers: Answers that were not undone; readers have the names of the facts.
        files: File of each synthetic image, relative to the folder of images, by its name in the answers.
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
        record: Data of the report.
        findings: Results on the answers.
        margin: Margin of the test of equivalence.
        seed: Seed of the resampling.
        made: Time of the report.
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
        named: Whether to show the readers' names, instead of 'reader 1' and so on, and the times of their work.
    """
    labels = reader_labels(session, study, named=named)
    facts, answers = study_facts(session, study, labels), answers_of(session, study)
    if not named:
        # the times of work could identify a reader
        readers = [replace(reader, last_answer=None, last_seen=None) for reader in facts.readers]
        facts = replace(facts, readers=tuple(readers))
        answers = type(answers)(answers.frame.assign(reader=answers.frame["reader"].map(labels).astype(str)))
    files = {name: image.file for name, image in synthetic_images(session, study).items()}
    return StudyRecord(facts, answers, files, named)


def study_report(record: StudyRecord, *, margin: float | None = None, seed: int = 0, now: datetime) -> StudyReport:
    """Computes a report; results with too few answers are marked as missing.

    Args:
        record: Data of the study.
        margin: Margin of the test of equivalence; None: the study's.
        seed: Seed of the resampling.
        now: Current time.
    """
    margin = record.facts.margin if margin is None else margin
    findings = study_findings(record.answers, record.facts.versions, margin=margin, seed=seed)
    return StudyReport(record, findings, margin, seed, now)


def report_document(report: StudyReport) -> dict[str, Any]:
    """A report as plain values for JSON; NaN becomes null."""
    document: dict[str, Any] = plain(
        {
            "study": report.record.facts,
            "made": report.made,
            "study_app": version("study-app"),
            "study_stats": version("study-stats"),
            "margin": report.margin,
            "seed": report.seed,
            "versions": {name: _results(findings) for name, findings in report.findings.versions.items()},
            "whole": _results(report.findings.whole),
        }
    )
    return document


def is_report_document(path: Path) -> bool:
    """Whether a file holds the JSON document of a report, and so may be replaced."""
    try:
        return {"study", "made", "study_app", "study_stats"} <= set(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def plain(value: Any) -> Any:
    """Converts values and results of study-stats to values that JSON supports."""
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
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value):
        # the times of single answers are in the files of `export`
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.name != "times"}
    return value


def _results(findings: dict[str, Finding]) -> dict[str, Any]:
    return {
        name: {"missing": finding.missing} if finding.missing else finding.result for name, finding in findings.items()
    }
