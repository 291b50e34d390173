"""Classifications in CSV files."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from run_folder import TableError, first_line, read_table, whole_file
from study_stats.classifications.answer_table import AnswerTable, bad_rows, kinds
from study_stats.classifications.pairs import Classifications
from study_stats.classifications.single_images import AnyClassifications, SingleClassifications
from study_stats.errors import StudyError

_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_Table = TypeVar("_Table", bound=AnswerTable[Any])


def read_classifications(path: str | Path) -> Classifications:
    """Reads a CSV file with a line of column names and one classification a line.

    The columns are the fields of `Classification`, in any order. Times are ISO 8601 with their time zone, such as
    2026-05-04T09:30:00+02:00; `correct` is true or false, or 1 or 0. Encodings and separators are those of
    `run_folder.read_table`; texts lose the blanks around them and are brought to Unicode form NFC.

    Raises:
        StudyError: The file is missing, no such table, or has bad rows: the message counts them and tells of the first.
    """
    return _read(Path(path), Classifications)


def read_single_classifications(path: str | Path) -> SingleClassifications:
    """Reads a CSV file with a line of column names and one classification of a single image a line.

    The columns are the fields of `SingleClassification`, and their values as `read_classifications` has them.

    Raises:
        StudyError: The file is missing, no such table, or has bad rows: the message counts them and tells of the first.
    """
    return _read(Path(path), SingleClassifications)


def write_classifications(classifications: AnyClassifications, path: str | Path) -> None:
    """Writes a CSV file that can be read again, whole or not at all; times are in UTC.

    Raises:
        StudyError: The file cannot be written.
    """
    path = Path(path)
    columns = kinds(classifications.row_type)
    try:
        with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*(_texts(classifications, *column) for column in columns.items()), strict=True))
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror or first_line(error)}") from error


def _texts(classifications: AnyClassifications, name: str, kind: Any) -> list[str]:
    values = classifications.frame[name].tolist()
    if kind is datetime:
        return [time.to_pydatetime().isoformat() for time in values]
    return [str(value).lower() if kind is bool else value for value in values]


def _read(path: Path, table: type[_Table]) -> _Table:
    columns = kinds(table.row_type)
    try:
        lines = read_table(path, list(columns))
    except TableError as error:
        raise StudyError(str(error)) from None
    if surplus := [name for name in lines.columns if name not in columns]:
        raise StudyError(f"{path}: unknown columns {', '.join(surplus)}; take them out, or rename them")
    rows: list[Any] = []
    bad: list[tuple[int, str]] = []
    first_seen: set[tuple[Any, ...]] = set()
    for line in lines:
        try:
            row = table.row_type(**{name: _PARSERS[kind](name, line[name]) for name, kind in columns.items()})
            key = tuple(getattr(row, name) for name in table.one_answer)
            if key in first_seen:
                raise StudyError(f"the same reader, {table.shown} and time as a line before it")
            first_seen.add(key)
            rows.append(row)
        except StudyError as error:
            bad.append((line.line, str(error)))
    if bad:
        raise StudyError(f"{path}: {bad_rows(bad, len(lines), 'line')}")
    try:
        return table.from_rows(rows)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


def _text(_name: str, text: str) -> str:
    return text


def _truth(name: str, text: str) -> bool:
    found = _TRUTH.get(text.strip().lower())
    if found is None:
        raise StudyError(f"{name} is '{text}', wanted true or false")
    return found


def _time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise StudyError(f"{name} is '{text}', wanted a time such as 2026-05-04T09:30:00+02:00") from None
    if time.tzinfo is None:
        raise StudyError(f"{name} is '{text}' without a time zone, such as +00:00")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise StudyError(f"{name} is '{text}', out of range") from None


_PARSERS: dict[Any, Callable[[str, str], Any]] = {str: _text, bool: _truth, datetime: _time}
