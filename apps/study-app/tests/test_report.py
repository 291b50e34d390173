"""What came of a study, as a page and as JSON: with no answers, with few, and with all."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from run_folder import UsageError
from study_app.database import Database, StudyKind
from study_app.reporting.findings import QUESTIONS, study_findings
from study_app.reporting.page import report_page
from study_app.reporting.plots import readers_plot
from study_app.reporting.study_report import StudyReport, report_document, study_record, study_report
from study_app.reporting.writing import report_files
from study_app.settings import Settings
from study_app.studies import answer, answers_of, close_study, open_study, reader_of, reader_state, study_named, undo
from study_stats import compare_versions, discrimination, realism, response_times

READERS = ("berta", "carl")
WRONG = {"left": "right", "right": "left", "real": "synthetic", "synthetic": "real"}
SOURCE = re.compile(r'(?:src|href)="([^"]*)"')


@pytest.fixture
def choose(database: Database, clock: Any, truth: Callable[[str], str]) -> Any:
    """Answers what has its turn, rightly or wrongly."""

    def run(user: int, correct: bool) -> str:
        with database.writing() as session:
            current = reader_state(session, reader_of(session, "tiles", user), now=clock()).current
        assert current is not None
        right = truth(current.token)
        clock.forward(seconds=3 + user)
        with database.writing() as session:
            reader = reader_of(session, "tiles", user, lock=True)
            chosen = right if correct else WRONG[right]
            answer(session, reader, current.token, chosen, now=clock(), idle=timedelta(minutes=30))
        return current.token

    return run


@pytest.fixture
def report(database: Database, clock: Any) -> Callable[..., StudyReport]:
    def make(*, named: bool = False, **how: Any) -> StudyReport:
        with database.reading() as session:
            record = study_record(session, study_named(session, "tiles"), named=named)
        return study_report(record, now=clock(), **how)

    return make


def test_a_report_has_what_study_stats_says(make_study: Any, choose: Any, report: Any, database: Database) -> None:
    make_study(pairs=6, readers=READERS, versions=("v1", "v2"))
    for number in range(6):
        choose(2, number != 3)
        choose(3, number % 3 == 0)
    found = report(named=True)
    with database.reading() as session:
        answers = answers_of(session, study_named(session, "tiles"))
    assert found.findings.versions["v2"]["realism"].result == realism(answers.of_version("v2"))
    assert found.findings.whole["versions"].result == compare_versions(answers)
    # Times are between consecutive answers, of whatever version.
    assert found.findings.whole["times"].result.frame.equals(response_times(answers).frame)
    document = json.loads(json.dumps(report_document(found), allow_nan=False))
    (total,) = [row for row in document["whole"]["times"]["frame"] if row["reader"] == "total"]
    assert total["count"] == 10
    assert document["versions"]["v1"]["realism"]["total"]["p"] == realism(answers.of_version("v1")).total.p
    assert document["study"]["margin"] == document["margin"] == 0.1
    asked = set(document["whole"]) | {name for each in document["versions"].values() for name in each}
    assert asked == set(QUESTIONS) - {"discrimination"}
    pooled = [
        study_findings(found.record.answers, ["v1"], margin=0.1, seed=seed, names=("pooled",)).versions["v1"]
        for seed in (0, 1)
    ]
    assert pooled[0]["pooled"] == found.findings.versions["v1"]["pooled"] != pooled[1]["pooled"]


def test_a_page_stands_alone_and_names_nobody(
    make_study: Any, choose: Any, report: Any, settings: Settings, database: Database, clock: Any
) -> None:
    names = ("berta", "carl", "dora")
    make_study(pairs=4, readers=names)
    for number in range(10):
        choose(2 + number % 3, number % 4 > 0)
    with database.writing() as session:
        close_study(study_named(session, "tiles", lock=True), now=clock())
    found = report()
    page = report_page(found, settings.images)
    sources = SOURCE.findall(page)
    assert all(source.startswith("data:") for source in sources)
    plots = [b64decode(source.partition(",")[2]).decode() for source in sources if source.startswith("data:image/svg")]
    pictures = [source for source in sources if source.startswith("data:image/jpeg;base64,")]
    assert len(plots) == 3
    assert len(pictures) == sum(found.findings.versions["v1"]["recognised"].result.frame["recognised"] > 0)
    assert "<script" not in page
    assert "still open" not in page
    for words in (*set(QUESTIONS.values()) - {QUESTIONS["versions"]}, "Version v1", "10 of 12"):
        assert words in page, words
    for text in (page, json.dumps(report_document(found)), *plots):
        assert not any(name in text for name in names)
        assert all(f"reader {number}" in text for number in (1, 2, 3))
    assert [(each["done"], each["last_seen"]) for each in report_document(found)["study"]["readers"]] == [
        (each.done, None) for each in found.record.facts.readers
    ]
    assert readers_plot(found.findings.versions["v1"]["realism"].result) in page  # drawn again, it is the same
    with database.reading() as session:
        named = study_record(session, study_named(session, "tiles"), named=True)
    assert [each.reader for each in named.facts.readers] == [*names]
    assert set(named.answers.frame["reader"]) == {*names}


@pytest.mark.parametrize("kind", [StudyKind.PAIRS, StudyKind.SINGLE])
def test_few_answers_or_none_are_said_to_be_too_few(
    make_study: Any, choose: Any, report: Any, settings: Settings, database: Database, clock: Any, kind: StudyKind
) -> None:
    make_study(pairs=3, readers=READERS, kind=kind, opened=False)
    empty = report()
    assert {found.missing != "" for _, found in empty.findings} == {True}
    assert "has not been opened yet" in report_page(empty, settings.images)
    with database.writing() as session:
        open_study(session, study_named(session, "tiles", lock=True), settings.images, now=clock())
    last = ""
    for user, correct in ((2, True), (3, False)):
        last = choose(user, correct)
        found = report()
        json.dumps(report_document(found), allow_nan=False)
        if user == 2 and kind is StudyKind.PAIRS:
            assert "Not possible yet" in report_page(found, settings.images)
    assert found.record.facts.answered == 2
    with database.writing() as session:
        undo(session, reader_of(session, "tiles", 3, lock=True), last, now=clock())
    with database.reading() as session:
        facts = study_record(session, study_named(session, "tiles"), named=False).facts
    assert (facts.answered, facts.undone) == (1, 1)


def test_single_images_have_figures_of_their_own(make_study: Any, choose: Any, report: Any, settings: Settings) -> None:
    make_study(pairs=5, readers=READERS, kind=StudyKind.SINGLE)
    for number in range(10):
        choose(2, number % 4 > 0)
        choose(3, number % 2 > 0)
    found = report()
    result = found.findings.versions["v1"]["discrimination"].result
    assert result == discrimination(found.record.answers.of_version("v1"))
    page = report_page(found, settings.images)
    assert f"{result.total.difference:+.4f}" in page
    assert "10 images, one at a time" in page
    assert "mixed" not in found.findings.versions["v1"]


def test_the_margin_is_that_of_the_study_unless_another_is_asked_for(
    make_study: Any, choose: Any, report: Any, settings: Settings, database: Database
) -> None:
    make_study(opened=False)
    with database.writing() as session:
        study_named(session, "tiles", lock=True).margin = 0.2
    assert report().margin == 0.2
    assert "0.2, which can still be changed" in report_page(report(), settings.images)
    other = report(margin=0.3)
    assert other.margin == 0.3
    assert "0.3; the margin of the study, fixed before it was opened, is 0.2" in report_page(other, settings.images)


def test_overwriting_a_report_keeps_a_file_of_the_user_beside_it(tmp_path: Path) -> None:
    page, own = tmp_path / "report.html", tmp_path / "report.json"
    own.write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=r"report\.json exists, and study-app did not write it"):
        report_files(page, overwrite=True)
    own.write_text('{"study": {}, "made": "", "study_app": "0.2", "study_stats": "0.2"}')
    assert report_files(page, overwrite=True) == (page, own)
