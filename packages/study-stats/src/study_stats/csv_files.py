"""Classifications in CSV files."""

import csv
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from study_stats.classifications import COLUMNS, Classification, Classifications, bad_rows
from study_stats.errors import StudyError

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def read_classifications(path: str | Path) -> Classifications:
    """Reads a CSV file with a line of column names and one classification a line.

    The columns are the fields of `Classification`, in any order. Times are ISO 8601 with their time zone, such as
    2026-05-04T09:30:00+02:00; `correct` is true or false, or 1 or 0.

    Raises:
        StudyError: The file is missing, no such table, or has bad rows: the message counts them and tells of the first.
    """
    path = Path(path)
    rows: list[Classification] = []
    bad: list[tuple[int, str]] = []
    first_seen: set[tuple[str, str, str, datetime]] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = _checked_names(next(lines, []), path)
            # A quoted value may hold line breaks, so lines are counted by the reader.
            start = lines.line_num + 1
            for values in lines:
                try:
                    if values:
                        row = _classification(names, values)
                        key = (row.reader, row.real_image, row.synthetic_image, row.time_shown)
                        if key in first_seen:
                            raise StudyError("the same reader, pair and time as a line before it")
                        first_seen.add(key)
                        rows.append(row)
                except StudyError as error:
                    bad.append((start, str(error)))
                start = lines.line_num + 1
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no CSV file in UTF-8: {error}") from error
    if bad:
        raise StudyError(f"{path}: {bad_rows(bad, len(rows) + len(bad), 'line')}")
    return Classifications.from_rows(rows)


def write_classifications(classifications: Classifications, path: str | Path) -> None:
    """Writes a CSV file that `read_classifications` reads, whole or not at all; times are in UTC.

    Raises:
        StudyError: The file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(*(_texts(classifications, name) for name in COLUMNS), strict=True))
        os.replace(partial, path)  # noqa: PTH105 - named for what it does
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _texts(classifications: Classifications, name: str) -> list[str]:
    values = classifications.frame[name].tolist()
    if name.startswith("time_"):
        return [time.to_pydatetime().isoformat() for time in values]
    return [str(value).lower() if name == "correct" else value for value in values]


def _checked_names(names: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in names]
    missing = [name for name in COLUMNS if name not in names]
    surplus = [name for name in names if name not in COLUMNS or names.count(name) > 1]
    if missing or surplus:
        raise StudyError(
            f"{path}: wanted the columns {', '.join(COLUMNS)};"
            f" missing: {', '.join(missing) or 'none'}, unknown or twice: {', '.join(surplus) or 'none'}"
        )
    return names


def _classification(names: list[str], values: list[str]) -> Classification:
    if len(values) != len(names):
        raise StudyError(f"{len(values)} values, wanted {len(names)}")
    row = dict(zip(names, values, strict=True))
    correct = _TRUTH.get(row["correct"].strip().lower())
    if correct is None:
        raise StudyError(f"correct is '{row['correct']}', wanted true or false")
    return Classification(
        reader=row["reader"],
        real_image=row["real_image"],
        synthetic_image=row["synthetic_image"],
        side=row["side"],
        time_shown=_time(row, "time_shown"),
        time_answered=_time(row, "time_answered"),
        correct=correct,
        session=row["session"],
        model_version=row["model_version"],
    )


def _time(row: dict[str, str], name: str) -> datetime:
    try:
        time = datetime.fromisoformat(row[name].strip())
    except ValueError:
        raise StudyError(f"{name} is '{row[name]}', wanted a time such as 2026-05-04T09:30:00+02:00") from None
    if time.tzinfo is None:
        raise StudyError(f"{name} is '{row[name]}' without a time zone, such as +00:00")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise StudyError(f"{name} is '{row[name]}', out of range") from None
