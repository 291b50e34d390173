from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from study_stats import Classification, Classifications, StudyError, response_times

START = datetime(2026, 5, 4, 9, tzinfo=UTC)


def session(reader: str, name: str, *answers: tuple[float, bool], start: datetime = START) -> list[Classification]:
    """Classifications at these seconds of the session."""
    return [
        Classification(
            reader, f"r{number}", f"s{name}{number}", "left", start, start + timedelta(seconds=at), correct, name, "1"
        )
        for number, (at, correct) in enumerate(answers)
    ]


def test_medians_of_constructed_sessions() -> None:
    rows = [
        # The first has no time; then 10, 4, 300 (still no pause), 300.5 (a pause) and 6 seconds.
        *session("A", "1", (5, True), (15, True), (19, False), (319, True), (619.5, True), (625.5, False)),
        # A later session starts anew: no time is taken from the one before; then 20 seconds.
        *session("A", "2", (2, False), (22, True), start=START + timedelta(minutes=11)),
        *session("B", "3", (1, True), (3, True), (8, True)),  # 2 and 5 seconds at the same time as A
    ]
    found = response_times(Classifications.from_rows(rows))
    frame: Any = found.frame
    assert frame.loc["A", ["median", "median_correct", "median_incorrect"]].tolist() == [10, 20, 5]
    assert frame.loc["A", ["count", "pauses", "first"]].tolist() == [5, 1, 2]
    assert frame.loc["B", ["median", "median_correct"]].tolist() == [3.5, 3.5]
    assert np.isnan(frame.loc["B", "median_incorrect"])
    # Over all times: 2, 4, 5, 6, 10, 20, 300.
    assert frame.loc["total", ["median", "median_correct", "median_incorrect"]].tolist() == [6, 10, 5]
    assert frame.loc["total", ["count", "pauses", "first"]].tolist() == [7, 1, 3]
    assert sorted(found.times["seconds"]) == [2, 4, 5, 6, 10, 20, 300]
    assert "B            3.50     3.50          -  2       0      1" in str(found)


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [*session("A", "1", (1, True), (4, False), (20, True)), *session("B", "2", (2, True), (9, True))]
    expected = response_times(Classifications.from_rows(rows)).frame
    assert response_times(Classifications.from_rows(rows[::-1])).frame.equals(expected)


def test_sessions_of_two_readers_may_have_one_name() -> None:
    rows = [*session("A", "1", (1, True), (10, True)), *session("B", "1", (2, True), (5, True))]
    assert response_times(Classifications.from_rows(rows)).frame["median"].tolist() == [9, 3, 6]


def test_sessions_of_one_classification_have_no_times() -> None:
    found = response_times(Classifications.from_rows(session("A", "1", (1, True))))
    assert len(found.times) == 0
    assert found.frame["median"].isna().all()
    assert "-" in str(found)


def test_no_classifications(from_answers: Callable[..., Classifications]) -> None:
    with pytest.raises(StudyError, match="there are no classifications"):
        response_times(from_answers({}))
