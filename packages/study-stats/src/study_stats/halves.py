"""Whether readers get better or worse as they go on."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from study_stats.classifications import Classifications
from study_stats.errors import StudyError, check_share
from study_stats.intervals import holm, share_interval, together
from study_stats.printing import p_value_text, table_text


@dataclass(frozen=True)
class ReaderDrift:
    """One reader's first classifications against the later ones.

    Attributes:
        reader: The reader.
        count: Number of classifications.
        p_first: Share of incorrect ones in the first half.
        p_second: In the second half, which has one more where their number is odd.
        change: p_second - p_first; below 0 where the reader learns.
        interval: Its interval, by Newcombe.
        p_value: Of Fisher's exact test that there is no change.
        p_value_corrected: That by Holm, for all readers.
    """

    reader: str
    count: int
    p_first: float
    p_second: float
    change: float
    interval: tuple[float, float]
    p_value: float
    p_value_corrected: float


@dataclass(frozen=True)
class Drift:
    """Change from the first half of each reader's classifications to the second.

    Attributes:
        readers: Each reader with two classifications or more. Their intervals hold for all at once.
        p_value: Of the test by Mantel and Haenszel that no reader changes: it compares each with none but themselves.
        confidence: That of the intervals.
        left_out: Readers with a single classification.
    """

    readers: tuple[ReaderDrift, ...]
    p_value: float
    confidence: float
    left_out: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The readers, one a row, with `low` and `high` for the interval."""
        rows = [asdict(row) for row in self.readers]
        for row in rows:
            row["low"], row["high"] = row.pop("interval")
        return pd.DataFrame(rows).set_index("reader")

    def __str__(self) -> str:
        """The table, and below it the test of all readers."""
        header = [
            "reader",
            "n",
            "p, first half",
            "second",
            "change",
            f"{100 * self.confidence:.4g}% interval",
            "p-value",
            "Holm",
        ]
        rows = [
            [
                row.reader,
                f"{row.count:,}",
                f"{row.p_first:.4f}",
                f"{row.p_second:.4f}",
                f"{row.change:+.4f}",
                f"[{row.interval[0]:+.4f}, {row.interval[1]:+.4f}]",
                p_value_text(row.p_value),
                p_value_text(row.p_value_corrected),
            ]
            for row in self.readers
        ]
        left_out = f"; left out, with one classification: {', '.join(self.left_out)}" if self.left_out else ""
        test = f"all readers, each against themselves (Mantel-Haenszel): p-value {p_value_text(self.p_value)}"
        return f"{table_text(header, rows)}\n{test}{left_out}"


def drift(classifications: Classifications, *, confidence: float = 0.95) -> Drift:
    """Compares the first half of each reader's classifications, by time answered, with the second.

    Args:
        classifications: At least two by one reader.
        confidence: That of the intervals of all readers together.

    Raises:
        StudyError: No reader has two classifications.

    Source: Newcombe 1998, 'Interval estimation for the difference between independent proportions', method 10; Mantel
    and Haenszel 1959, 'Statistical aspects of the analysis of data from retrospective studies'.
    """
    check_share("confidence", confidence)
    ordered = classifications.frame.sort_values("time_answered", kind="stable")
    answers = {str(reader): ~correct.to_numpy(bool) for reader, correct in ordered.groupby("reader")["correct"]}
    left_out = tuple(reader for reader, wrong in answers.items() if len(wrong) < 2)
    answers = {reader: wrong for reader, wrong in answers.items() if len(wrong) >= 2}
    if not answers:
        raise StudyError("no reader has two classifications, so there is no change to see")
    tables = np.array([_halves(wrong) for wrong in answers.values()])
    p_values = [float(fisher_exact(table).pvalue) for table in tables]
    corrected = holm(p_values)
    each = together(confidence, len(answers))
    readers = tuple(
        _result(reader, table, each, p_value, float(by_holm))
        for reader, table, p_value, by_holm in zip(answers, tables, p_values, corrected, strict=True)
    )
    return Drift(readers, _mantel_haenszel(tables), confidence, left_out)


def _halves(wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Incorrect and correct ones of the first half, above those of the second, (2, 2)."""
    middle = len(wrong) // 2
    return np.array([[half.sum(), (~half).sum()] for half in (wrong[:middle], wrong[middle:])], np.int64)


def _result(reader: str, table: NDArray[np.int64], confidence: float, p_value: float, corrected: float) -> ReaderDrift:
    (first, second), counts = table[:, 0] / table.sum(1), table.sum(1)
    (low_1, high_1), (low_2, high_2) = (
        share_interval(int(wrong), int(count), confidence, "wilson")
        for wrong, count in zip(table[:, 0], counts, strict=True)
    )
    change = second - first
    low = change - np.hypot(second - low_2, high_1 - first)
    high = change + np.hypot(high_2 - second, first - low_1)
    shares = (float(first), float(second), float(change))
    return ReaderDrift(reader, int(counts.sum()), *shares, (float(low), float(high)), p_value, corrected)


def _mantel_haenszel(tables: NDArray[np.int64]) -> float:
    """P-value of the test that no table, (N, 2, 2), shows a difference of its rows."""
    informative = tables[(tables.sum(1) > 0).all(1)]
    if not len(informative):
        return 1.0  # always correct or always incorrect: nothing changes
    # It takes seconds to import, which those who do not ask for drift need not wait for.
    from statsmodels.stats.contingency_tables import StratifiedTable

    return float(StratifiedTable([table.astype(float) for table in informative]).test_null_odds(correction=True).pvalue)
