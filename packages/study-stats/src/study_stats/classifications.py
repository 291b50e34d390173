"""Classifications: what a reader saw and which of two images the reader took for the real one."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pandas as pd

from study_stats.errors import StudyError

COLUMNS = (
    "reader",
    "real_image",
    "synthetic_image",
    "side",
    "time_shown",
    "time_answered",
    "correct",
    "session",
    "model_version",
)
_TIMES = ("time_shown", "time_answered")
_NAMES = ("reader", "real_image", "synthetic_image", "session", "model_version")
_ONE_ANSWER = ["reader", "real_image", "synthetic_image", "time_shown"]


@dataclass(frozen=True)
class Classification:
    """One pair of images shown to one reader, and the answer.

    Args:
        reader: Who answered.
        real_image: Name of the real image of the pair.
        synthetic_image: Name of the synthetic one.
        side: Where the real image was shown, 'left' or 'right'.
        time_shown: When the pair was shown, with its time zone.
        time_answered: When the reader answered.
        correct: Whether the reader chose the real image.
        session: Name of the sitting; one reader's sessions have different names.
        model_version: The model that drew the synthetic image.

    Raises:
        StudyError: A name is empty, a side or time is none, or the answer came before the pair.
    """

    reader: str
    real_image: str
    synthetic_image: str
    side: str
    time_shown: datetime
    time_answered: datetime
    correct: bool
    session: str
    model_version: str

    def __post_init__(self) -> None:
        for name in _NAMES:
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise StudyError(f"{name} is empty or no text: {value!r}")
        if self.real_image == self.synthetic_image:
            raise StudyError(f"real_image and synthetic_image are the same: '{self.real_image}'")
        if self.side not in ("left", "right"):
            raise StudyError(f"side is '{self.side}', wanted 'left' or 'right'")
        for name in _TIMES:
            time = getattr(self, name)
            if not isinstance(time, datetime) or pd.isna(time) or time.tzinfo is None:
                raise StudyError(f"{name} is no time with a time zone: {time}")
        if self.time_answered < self.time_shown:
            raise StudyError(f"answered at {self.time_answered}, before it was shown at {self.time_shown}")
        if not isinstance(self.correct, bool | np.bool_):
            raise StudyError(f"correct is {self.correct!r}, wanted true or false")


@dataclass(frozen=True, eq=False)
class Classifications:
    """Classifications, one a row, in a DataFrame with the fields of `Classification` as columns; times are in UTC.

    Args:
        frame: The rows. Columns are put in order, and the rows numbered anew.

    Raises:
        StudyError: A column is missing or unknown, or rows are bad: the message counts them and tells of the first.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.frame]
        surplus = [str(name) for name in self.frame if name not in COLUMNS]
        if missing or surplus:
            raise StudyError(f"wanted classifications, got columns that lack {missing} and unknown {surplus}")
        rows = []
        bad: list[tuple[int, str]] = []
        for number, values in enumerate(zip(*(self.frame[name] for name in COLUMNS), strict=True)):
            try:
                rows.append(Classification(*values))
            except StudyError as error:
                bad.append((number, str(error)))
        if bad:
            raise StudyError(bad_rows(bad, len(self.frame), "row"))
        frame = _frame(rows)
        again = np.flatnonzero(frame.duplicated(_ONE_ANSWER))
        if len(again):
            repeated = "the same reader, pair and time as a row before it"
            raise StudyError(bad_rows([(int(number), repeated) for number in again], len(frame), "row"))
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        """One line: how many classifications, readers, images and versions there are."""
        readers, images = self.frame["reader"].nunique(), self.frame["synthetic_image"].nunique()
        versions = ", ".join(self.versions) or "none"
        return f"{len(self):,} classifications: {readers} readers, {images:,} synthetic images, versions {versions}"

    @classmethod
    def from_rows(cls, rows: Iterable[Classification]) -> Self:
        """Makes a table of single classifications, in their order."""
        return cls(_frame(list(rows)))

    @property
    def versions(self) -> list[str]:
        """The versions of the model that there are, in alphabetical order."""
        return sorted(self.frame["model_version"].unique())

    def of_version(self, version: str) -> Self:
        """Returns the classifications of one version of the model.

        Raises:
            StudyError: There are none.
        """
        if version not in self.versions:
            raise StudyError(
                f"no classifications of version '{version}': there are {', '.join(self.versions) or 'none'}"
            )
        return type(self)(self.frame[self.frame["model_version"] == version])


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


def _frame(rows: Sequence[Classification]) -> pd.DataFrame:
    frame = pd.DataFrame([astuple(row) for row in rows], columns=list(COLUMNS))
    frame = frame.astype(dict.fromkeys(("side", *_NAMES), "str") | {"correct": "bool"})
    # Microseconds, as datetime has them: pandas 2 and 3 would each choose another unit.
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in _TIMES})
