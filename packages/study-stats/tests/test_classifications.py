import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_folder import plain_name
from study_stats import Classification, Classifications, StudyError, read_classifications, write_classifications

SHOWN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
GOOD = Classification(
    "A", "r1.png", "s1.png", "left", SHOWN, SHOWN + timedelta(seconds=7.25), True, "session 1", "2026-05"
)
HEADER = "reader,real_image,synthetic_image,side,time_shown,time_answered,correct,session,model_version"
LINE = "A,r1.png,s1.png,left,2026-05-04T09:30:00+00:00,2026-05-04T09:30:07.25Z,true,session 1,2026-05"

# As tables hold them: without blanks around them, in Unicode form NFC.
NAMES = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map(plain_name).filter(bool)
)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def rows(draw: st.DrawFn) -> Classification:
    shown, seconds, real = draw(TIMES), draw(st.floats(0, 1e4)), draw(NAMES)
    synthetic = draw(NAMES.filter(lambda name: name != real))
    side, correct = draw(st.sampled_from(["left", "right"])), draw(st.booleans())
    answered = shown + timedelta(seconds=seconds)
    return Classification(draw(NAMES), real, synthetic, side, shown, answered, correct, draw(NAMES), draw(NAMES))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        rows(), max_size=6, unique_by=lambda row: (row.reader, row.real_image, row.synthetic_image, row.time_shown)
    )
)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[Classification]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    written = Classifications.from_rows(rows)
    write_classifications(written, path)
    read = read_classifications(path)
    assert read.frame.equals(written.frame)
    assert [Classification(*row) for row in zip(*(read.frame[name] for name in read.frame), strict=True)] == rows


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    spaced = LINE.replace("A,r1", '"B, MD",r1').replace("09:30:00+00:00", "11:30:00+02:00").replace("true", "0")
    path.write_text(f"{HEADER}\n{LINE}\n\n{spaced}\n", encoding="utf-8-sig")
    found = read_classifications(path)
    assert Classification(*found.frame.iloc[0]) == GOOD
    assert Classification(*found.frame.iloc[1]) == replace(GOOD, reader="B, MD", correct=False)
    assert str(found) == "2 classifications: 2 readers, 1 synthetic images, versions 2026-05"


def test_a_file_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    path.write_bytes(b"\xff\xfe" + f"{HEADER}\r\n{LINE}\r\n".replace(",", "\t").encode("utf-16-le"))
    assert Classification(*read_classifications(path).frame.iloc[0]) == GOOD


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    lines = [",".join(reversed(line.split(","))) for line in (HEADER, LINE)]
    path.write_text("\n".join(lines))
    assert Classification(*read_classifications(path).frame.iloc[0]) == GOOD


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("left", "top", "side is 'top', wanted 'left' or 'right'"),
        ("true", "maybe", "correct is 'maybe', wanted true or false"),
        ("A,", ",", "reader is empty or no text: ''"),
        ("2026-05-04T09:30:00+00:00", "yesterday", "time_shown is 'yesterday', wanted a time such as"),
        ("2026-05-04T09:30:00+00:00", "2026-05-04T09:30:00", "without a time zone"),
        ("09:30:07.25", "09:29:07.25", "before it was shown"),
        ("s1.png", "r1.png", "real_image and synthetic_image are the same: 'r1.png'"),
        ("2026-05-04T09:30:00+00:00", "0001-01-01T00:00:00+10:00", "out of range"),
    ],
)
def test_bad_rows_are_counted_and_the_first_is_told(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "study.csv"
    bad = new.join(LINE.rsplit(old, 1)) if old.startswith(",") else LINE.replace(old, new, 1)
    path.write_text("\n".join([HEADER, LINE, bad, LINE.replace("A,", "B,"), bad]))
    with pytest.raises(StudyError, match=re.escape(reason)) as caught:
        read_classifications(path)
    assert str(caught.value).startswith(f"{path}: 2 of 4 rows are bad; the first is line 3: ")
    assert "\n" not in str(caught.value)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    path.write_text("\n".join([HEADER, LINE.replace("A,", '"A\nB",'), "", LINE.replace("left", "up")]))
    with pytest.raises(StudyError, match="1 of 2 rows is bad: line 5"):
        read_classifications(path)


def test_an_answer_does_not_count_twice(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    path.write_text("\n".join([HEADER, LINE, LINE]))
    with pytest.raises(
        StudyError, match=r"1 of 2 rows is bad: line 3: the same reader, pair and time as a line before"
    ):
        read_classifications(path)
    with pytest.raises(StudyError, match=r"1 of 2 rows is bad: row 1: the same reader, pair and time as a row before"):
        Classifications.from_rows([GOOD, GOOD])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; begin it with a line of the columns reader, real_image"),
        (HEADER.replace("side", "seite").encode(), "no column side; begin it with .* seite"),
        ((HEADER + ",side").encode(), "column side occurs twice"),
        ((HEADER + ",seite").encode(), "unknown columns seite; take them out"),
        (b"\xff\xfe\x00", "line 1 is not UTF-16; save the table as CSV in UTF-8"),
        ((HEADER + '\n"A').encode(), "line 2 is not CSV"),
        (f"{HEADER}\n{LINE}\n{LINE},\n{LINE[:-8]}".encode(), "2 of 3 rows have .*; line 3 has 10, wanted 9"),
    ],
)
def test_files_that_are_no_such_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "study.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=message):
        read_classifications(path)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such file"):
        read_classifications(tmp_path / "none.csv")
    with pytest.raises(StudyError, match="cannot be read"):
        read_classifications(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot be written"):
        write_classifications(Classifications.from_rows([GOOD]), tmp_path / "file" / "study.csv")
    with pytest.raises(StudyError, match="cannot be written"):
        write_classifications(Classifications.from_rows([GOOD]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("reader", None, "reader is empty or no text"),
        ("correct", 1, "correct is 1, wanted true or false"),
        ("time_shown", pd.NaT, "time_shown is no time with a time zone"),
        ("time_answered", pd.Timestamp("2026-05-05"), "time_answered is no time with a time zone"),
    ],
)
def test_frames_are_checked_as_files_are(column: str, value: Any, message: str) -> None:
    frame = Classifications.from_rows([GOOD, replace(GOOD, reader="B")]).frame.astype(object)
    frame.loc[1, column] = value
    with pytest.raises(StudyError, match=f"1 of 2 rows is bad: row 1: {message}"):
        Classifications(frame)


def test_frames_without_a_column_or_with_another() -> None:
    frame = Classifications.from_rows([GOOD]).frame
    with pytest.raises(StudyError, match=r"lack \['side'\] and unknown \['seite'\]"):
        Classifications(frame.rename(columns={"side": "seite"}))


def test_times_are_kept_in_utc() -> None:
    east = timezone(timedelta(hours=5))
    found = Classifications.from_rows([replace(GOOD, time_shown=SHOWN.astimezone(east))])
    assert found.frame.equals(Classifications.from_rows([GOOD]).frame)


def test_one_version_of_the_model() -> None:
    both = Classifications.from_rows([GOOD, replace(GOOD, reader="B", model_version="2026-06")])
    assert both.versions == ["2026-05", "2026-06"]
    assert both.of_version("2026-06").frame["reader"].tolist() == ["B"]
    with pytest.raises(StudyError, match="no classifications of version 'x': there are 2026-05, 2026-06"):
        both.of_version("x")


def test_results_do_not_change_what_they_are_given(simulate: Callable[..., Classifications]) -> None:
    from study_stats import drift, realism, recognised_images, response_times

    study = simulate(np.random.default_rng(0), readers=2, images=5)
    before = study.frame.copy()
    for function in (realism, drift, recognised_images, response_times):
        function(study)
    assert study.frame.equals(before)
