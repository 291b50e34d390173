"""Response times, as the published tables define them."""

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from study_stats.classifications.single_images import AnyClassifications
from study_stats.errors import StudyError
from study_stats.printing import table_text

LONGEST = timedelta(minutes=5)
"""A longer time between two classifications is a pause."""
_MEDIANS = ("median", "median_correct", "median_incorrect")


@dataclass(frozen=True, eq=False)
class ResponseTimes:
    """Times of classifications and their medians.

    Attributes:
        times: One classification that has a time a row: `reader`, `correct`, `seconds`.
        frame: One reader a row (the index), 'total' the last: `median`, `median_correct` and `median_incorrect` in
            seconds (NaN if there are none), `count` of times, `pauses` that were left out, and `first` classifications
            of a session, which have no time.
    """

    times: pd.DataFrame
    frame: pd.DataFrame

    def __str__(self) -> str:
        """The medians, and what was left out."""
        header = ["reader", "median, s", "correct", "incorrect", "n", "pauses", "first"]
        rows = [
            [
                str(reader),
                *("-" if pd.isna(row[name]) else f"{row[name]:.2f}" for name in _MEDIANS),
                *(f"{row[name]:,}" for name in ("count", "pauses", "first")),
            ]
            for reader, row in self.frame.to_dict("index").items()
        ]
        minutes = LONGEST.total_seconds() / 60
        return (
            f"{table_text(header, rows)}\n"
            "Times between consecutive answers of a session."
            f" Left out: pauses of over {minutes:g} minutes, and the first answer of each session."
        )


def response_times(classifications: AnyClassifications) -> ResponseTimes:
    """Measures the time of each classification: from the reader's answer before it, in the same session, to its own.

    The first classification of a session has no time, and times of over five minutes are left out.

    Args:
        classifications: At least one.

    Raises:
        StudyError: There are no classifications.

    Source: The tables of the URCDM reader study.
    """
    if not len(classifications):
        raise StudyError("there are no classifications")
    ordered = classifications.answers.sort_values("time_answered", kind="stable")
    taken = ordered.groupby(["reader", "session"])["time_answered"].diff()
    rows = ordered[["reader", "correct"]].assign(
        seconds=taken.dt.total_seconds(), pause=taken > LONGEST, first=taken.isna()
    )
    medians = {str(reader): _medians(mine) for reader, mine in rows.groupby("reader")}
    frame = pd.DataFrame([*medians.values(), _medians(rows)], index=pd.Index([*medians, "total"], name="reader"))
    timed = rows[~rows["pause"] & ~rows["first"]]
    return ResponseTimes(timed[["reader", "correct", "seconds"]].reset_index(drop=True), frame)


def _medians(rows: pd.DataFrame) -> dict[str, float | int]:
    timed = rows[~rows["pause"] & ~rows["first"]]
    return {
        "median": timed["seconds"].median(),
        "median_correct": timed.loc[timed["correct"], "seconds"].median(),
        "median_incorrect": timed.loc[~timed["correct"], "seconds"].median(),
        "count": len(timed),
        "pauses": int(rows["pause"].sum()),
        "first": int(rows["first"].sum()),
    }
