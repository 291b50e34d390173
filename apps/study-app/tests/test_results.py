"""What comes out: classifications for study-stats, JSON, the report."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from run_folder import UsageError
from study_app.database import Database, StudyKind
from study_app.exporting import export_study
from study_app.studies import answer, answers_of, classifications, pause, reader_of, reader_state, study_named, undo
from study_stats import read_classifications, realism, response_times

IDLE = timedelta(minutes=30)


@pytest.fixture
def choose(database: Database, clock: Any, truth: Callable[[str], str], other_side: dict[str, str]) -> Any:
    """Answers rightly or wrongly after some seconds."""

    def run(user: int, correct: bool, seconds: float = 4) -> None:
        with database.writing() as session:
            current = reader_state(session, reader_of(session, "tiles", user), now=clock()).current
        assert current is not None
        right = truth(current.token)
        clock.forward(seconds=seconds)
        with database.writing() as session:
            reader = reader_of(session, "tiles", user, lock=True)
            answer(session, reader, current.token, right if correct else other_side[right], now=clock(), idle=IDLE)

    return run


def of(database: Database) -> Any:
    with database.reading() as session:
        return answers_of(session, study_named(session, "tiles"))


def test_classifications_tell_what_readers_did(make_study: Any, choose: Any, database: Database) -> None:
    make_study(pairs=8, readers=("berta", "carl"), versions=("v1", "v2"))
    for correct in (True, True, False, True):
        choose(2, correct)
    for correct in (False, False, True):
        choose(3, correct)
    found = of(database)
    rows = {row.reader: (row.correct, row.incorrect) for row in realism(found).readers}
    assert rows == {"berta": (3, 1), "carl": (1, 2)}
    assert found.versions == ["v1", "v2"]
    assert set(found.frame["session"]) == {"1", "2"}
    assert all(name.startswith("real/") for name in found.frame["real_image"])
    assert all(
        name.startswith(f"{version}/")
        for name, version in zip(found.frame["synthetic_image"], found.frame["model_version"], strict=True)
    )


def test_undone_answers_do_not_count(make_study: Any, choose: Any, database: Database, clock: Any) -> None:
    make_study()
    choose(2, False)
    with database.writing() as session:
        reader = reader_of(session, "tiles", 2, lock=True)
        undo(session, reader, reader_state(session, reader, now=clock()).undoable or "", now=clock())
    assert len(of(database)) == 0
    choose(2, True)
    assert list(of(database).frame["correct"]) == [True]


def test_medians_are_within_a_sitting_and_without_pauses(
    make_study: Any, choose: Any, database: Database, clock: Any
) -> None:
    make_study(pairs=8)
    for seconds in (9, 4, 6, 301, 8):  # the first has no time; 301 s is a pause
        choose(2, True, seconds)
    with database.writing() as session:
        pause(session, reader_of(session, "tiles", 2, lock=True), now=clock())
    for seconds in (60, 10):  # the first of a sitting has none, either
        choose(2, False, seconds)
    total = response_times(of(database)).frame.loc["total"]
    assert (total["count"], total["pauses"], total["first"]) == (4, 1, 2)
    assert total["median"] == pytest.approx(7, abs=0.001)
    assert total["median_correct"] == pytest.approx(6, abs=0.001)
    assert total["median_incorrect"] == pytest.approx(10, abs=0.001)


def test_exports_can_be_read_again(make_study: Any, choose: Any, database: Database, tmp_path: Path) -> None:
    make_study()
    choose(2, True)
    choose(2, False)
    with database.reading() as session:
        study = study_named(session, "tiles")
        assert export_study(session, study, tmp_path / "out.csv") == 2
        assert export_study(session, study, tmp_path / "out.json") == 2
        with pytest.raises(UsageError, match="--overwrite"):
            export_study(session, study, tmp_path / "out.csv")
        with pytest.raises(UsageError, match=r"ends in .csv or .json"):
            export_study(session, study, tmp_path / "out.txt")
    assert read_classifications(tmp_path / "out.csv").frame.equals(of(database).frame)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["study"]["state"] == "open"
    assert [each["position"] for each in document["items"]] == [0, 1, 2, 3]
    assert [each["correct"] for each in document["answers"]] == [True, False]
    for each in document["answers"]:
        assert each["correct"] == (each["chosen"] == each["real_side"])
    assert document["readers"][0]["done"] == 2
    assert "password" not in (tmp_path / "out.json").read_text()


def test_single_images(make_study: Any, database: Database, choose: Any, other_side: dict[str, str]) -> None:
    other_side |= {"real": "synthetic", "synthetic": "real"}
    make_study(kind=StudyKind.SINGLE, pairs=3)
    for correct in (True, True, True, False, False, False):
        choose(2, correct)
    frame = of(database).frame
    assert list(frame["called_real"] == frame["is_real"]) == [True] * 3 + [False] * 3
    assert set(frame.loc[frame["is_real"], "model_version"]) == {""}
    assert set(frame.loc[~frame["is_real"], "model_version"]) == {"v1"}
    with database.reading() as session, pytest.raises(UsageError, match="single images"):
        classifications(session, study_named(session, "tiles"))
