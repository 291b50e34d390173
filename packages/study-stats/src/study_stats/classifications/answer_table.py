"""Tables of answers: what all kinds of studies have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pandas as pd

from study_stats.errors import StudyError


@dataclass(frozen=True)
class ReaderAnswer:
    """One answer of one reader. Its fields are texts, times and truths; each is checked by what it is.

    Raises:
        StudyError: A text is empty, a time has no time zone, a truth is none, or times are not in their order.
    """

    may_be_empty: ClassVar[tuple[str, ...]] = ()
    """Texts that need not be there."""

    def __post_init__(self) -> None:
        times = []
        for name, kind in kinds(type(self)).items():
            value = getattr(self, name)
            if kind is str and not (isinstance(value, str) and (value.strip() or name in self.may_be_empty)):
                raise StudyError(f"{name} is empty or no text: {value!r}")
            if kind is bool and not isinstance(value, bool | np.bool_):
                raise StudyError(f"{name} is {value!r}, wanted true or false")
            if kind is datetime:
                if not isinstance(value, datetime) or pd.isna(value) or value.tzinfo is None:
                    raise StudyError(f"{name} is no time with a time zone: {value}")
                times.append(value)
        if times != sorted(times):
            shown, answered = times
            raise StudyError(f"answered at {answered}, before it was shown at {shown}")


Row = TypeVar("Row", bound=ReaderAnswer)


@dataclass(frozen=True, eq=False)
class AnswerTable(ABC, Generic[Row]):
    """Answers, one a row, in a DataFrame with the fields of the row as columns; times are in UTC.

    Args:
        frame: The rows. Columns are put in order, and the rows numbered anew.

    Raises:
        StudyError: A column is missing or unknown, or rows are bad: the message counts them and tells of the first.
    """

    row_type: ClassVar[type[Any]]
    """The dataclass of a row."""
    one_answer: ClassVar[tuple[str, ...]]
    """Columns in which no two rows are the same."""
    shown: ClassVar[str]
    """What a reader is shown at a time, 'pair' or 'image'."""

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        columns = kinds(self.row_type)
        missing = [name for name in columns if name not in self.frame]
        surplus = [str(name) for name in self.frame if name not in columns]
        if missing or surplus:
            raise StudyError(f"wanted classifications, got columns that lack {missing} and unknown {surplus}")
        rows = []
        bad: list[tuple[int, str]] = []
        for number, values in enumerate(zip(*(self.frame[name] for name in columns), strict=True)):
            try:
                rows.append(self.row_type(*values))
            except StudyError as error:
                bad.append((number, str(error)))
        if bad:
            raise StudyError(bad_rows(bad, len(self.frame), "row"))
        frame = _frame(rows, columns)
        again = np.flatnonzero(frame.duplicated(list(self.one_answer)))
        if len(again):
            repeated = f"the same reader, {self.shown} and time as a row before it"
            raise StudyError(bad_rows([(int(number), repeated) for number in again], len(frame), "row"))
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Self:
        """Makes a table of single classifications, in their order."""
        return cls(_frame(list(rows), kinds(cls.row_type)))

    @property
    @abstractmethod
    def answers(self) -> pd.DataFrame:
        """What results are worked out from, the same for each kind of study, a row for each of `frame`.

        Its columns are `reader`, `session`, `time_answered` and `model_version`, `image` (the one that is asked about;
        of a pair, the synthetic one), `synthetic` (whether that image is), `item` (the number of what was shown),
        `answer` (what readers can agree on) and `correct`.
        """

    @property
    def versions(self) -> list[str]:
        """The versions of the model that there are, in alphabetical order."""
        return sorted(version for version in self.frame["model_version"].unique() if version)

    def of_version(self, version: str) -> Self:
        """Returns the classifications of one version of the model, with those of real images, which have none.

        Raises:
            StudyError: There are none.
        """
        if version not in self.versions:
            raise StudyError(
                f"no classifications of version '{version}': there are {', '.join(self.versions) or 'none'}"
            )
        return type(self)(self.frame[self.frame["model_version"].isin([version, ""])])


def kinds(row_type: Any) -> dict[str, Any]:
    """The fields of a row and the type of each: text, time or truth."""
    return {field.name: field.type for field in fields(row_type)}


def bad_rows(bad: Sequence[tuple[int, str]], total: int, unit: str) -> str:
    """One line that counts bad rows and tells of the first.

    Args:
        bad: Number and fault of each.
        total: How many rows there are.
        unit: What the numbers count, such as 'line'.
    """
    number, reason = bad[0]
    many = f"{len(bad):,} of {total:,} rows are bad; the first is" if len(bad) > 1 else f"1 of {total:,} rows is bad:"
    return f"{many} {unit} {number}: {reason}"


def _frame(rows: Sequence[ReaderAnswer], columns: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame([astuple(row) for row in rows], columns=list(columns))
    frame = frame.astype({name: kind.__name__ for name, kind in columns.items() if kind is not datetime})
    # Microseconds, as datetime has them: pandas 2 and 3 would each choose another unit.
    times = [name for name, kind in columns.items() if kind is datetime]
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in times})
