"""What those who run a study see of its results, and what a reader sees of theirs."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from study_app.database import Database, StudyKind
from study_app.studies import close_study, study_named
from study_app.web.admin.recent import LASTS
from study_stats import realism

WRONG = {"left": "right", "right": "left", "real": "synthetic", "synthetic": "real"}


@pytest.fixture
def choose(browser: Any, truth: Callable[[str], str], clock: Any) -> Callable[[Any, bool], None]:
    """Answers rightly or wrongly in a browser, after some seconds."""

    def run(reader: Any, correct: bool) -> None:
        right = truth(reader.state()["current"]["showing"])
        clock.forward(seconds=4)
        reader.answer(right if correct else WRONG[right])

    return run


def test_statistics_are_worked_out_when_looked_at_and_kept_for_a_while(
    make_study: Any, browser: Any, choose: Any, clock: Any
) -> None:
    make_study(pairs=4, readers=("berta", "carl"), versions=("v1", "v2"))
    admin, berta, carl = browser("anna"), browser("berta"), browser("carl")
    page = admin.get("/admin/studies/tiles/statistics").text
    assert page.count("Not possible yet") == 7
    clock.forward(seconds=LASTS.total_seconds())
    for correct in (True, True, False, True):
        choose(berta, correct)
        choose(carl, not correct)
    page = admin.get("/admin/studies/tiles/statistics").text
    assert "Not possible yet" not in page
    assert "v2 against v1" in page
    pictures = re.findall(r'<li><img src="([^"]+)"', page)
    assert len(pictures) == 4
    assert all(admin.get(each).mimetype == "image/jpeg" for each in pictures)
    assert "4.0 s" in admin.get("/admin/studies/tiles").text or "8.0 s" in admin.get("/admin/studies/tiles").text
    berta.submit("/studies/tiles/undo", showing=berta.state()["undoable"])
    assert _main(admin.get("/admin/studies/tiles/statistics").text) == _main(page)
    clock.forward(seconds=LASTS.total_seconds())
    assert _main(admin.get("/admin/studies/tiles/statistics").text) != _main(page)


def _main(page: str) -> str:
    return page.partition("<main")[2]


def test_a_report_is_a_page_that_loads_and_runs_nothing(make_study: Any, browser: Any, choose: Any) -> None:
    make_study()
    choose(browser("berta"), True)
    admin = browser("anna")
    page = admin.get("/admin/studies/tiles/report.html")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "sandbox" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "berta" not in page.text
    assert "reader 1" in page.text
    figures = admin.get("/admin/studies/tiles/report.json?names=yes")
    assert '"reader": "berta"' in figures.text
    assert figures.headers["Content-Disposition"] == 'attachment; filename="tiles-report.json"'
    assert json.loads(figures.text)["versions"]["v1"]["realism"]["total"]["correct"] == 1
    assert "unsafe" not in admin.get("/admin/").headers["Content-Security-Policy"]


def test_answers_are_exported(make_study: Any, browser: Any, choose: Any) -> None:
    make_study()
    choose(browser("berta"), False)
    admin = browser("anna")
    table = admin.get("/admin/studies/tiles/export.csv")
    assert table.headers["Content-Disposition"] == 'attachment; filename="tiles.csv"'
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["reader"], row["correct"], row["model_version"]) == ("berta", "false", "v1")
    document = json.loads(admin.get("/admin/studies/tiles/export.json").text)
    assert document["answers"][0]["correct"] is False
    assert document["study"]["margin"] == 0.1


@pytest.mark.parametrize("kind", [StudyKind.PAIRS, StudyKind.SINGLE])
def test_readers_see_their_own_result_once_it_is_closed_and_allowed(
    make_study: Any, browser: Any, choose: Any, database: Database, clock: Any, kind: StudyKind
) -> None:
    make_study(pairs=4, readers=("berta", "carl"), kind=kind)
    berta, carl = browser("berta"), browser("carl")
    for correct in (True, False, True):
        choose(berta, correct)
    choose(carl, True)
    own = "/studies/tiles/results"
    with database.writing() as session:
        study_named(session, "tiles", lock=True).results_shown = True
    assert berta.get(own).status_code == 404
    with database.writing() as session:
        close_study(study_named(session, "tiles", lock=True), now=clock())
    page = berta.get(own).text
    cells = re.findall(r"<td>([^<]+)</td>", page)
    assert cells[:2] == ["3", "2"]
    assert cells[3] == "4.0 s"
    if kind is StudyKind.PAIRS:
        assert cells[2] == f"{realism({'berta': (2, 1)}).total.p:.3f}"
    assert f'href="{own}"' in berta.get("/studies/tiles").text
    assert browser("anna").get(own).status_code == 404  # who does not read it
    assert browser().get(own).location == "/sign-in"
    with database.writing() as session:
        study_named(session, "tiles", lock=True).results_shown = False
    assert berta.get(own).status_code == 404
    assert own not in berta.get("/studies/tiles").text


def test_a_reader_of_images_of_one_kind_alone_has_a_median_time(
    make_study: Any, browser: Any, choose: Any, database: Database, clock: Any
) -> None:
    make_study(kind=StudyKind.SINGLE, seed=3)
    berta = browser("berta")
    for _ in range(2):
        choose(berta, True)
    with database.writing() as session:
        study_named(session, "tiles", lock=True).results_shown = True
        close_study(study_named(session, "tiles", lock=True), now=clock())
    assert re.findall(r"<td>([^<]+)</td>", berta.get("/studies/tiles/results").text) == ["2", "2", "-", "4.0 s"]


def test_a_reader_without_answers_has_a_result_without_figures(
    make_study: Any, browser: Any, database: Database, clock: Any
) -> None:
    make_study()
    with database.writing() as session:
        study_named(session, "tiles", lock=True).results_shown = True
        close_study(study_named(session, "tiles", lock=True), now=clock())
    assert re.findall(r"<td>([^<]+)</td>", browser("berta").get("/studies/tiles/results").text) == ["0", "0", "-", "-"]
