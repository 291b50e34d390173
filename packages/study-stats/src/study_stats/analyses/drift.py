"""Change of readers' performance during the study."""

from dataclasses import dataclass

import pandas as pd

from study_stats.classifications.single_images import AnyClassifications
from study_stats.errors import StudyError, check_share
from study_stats.inference.contrasts import Contrast, contrast
from study_stats.inference.intervals import holm, together
from study_stats.printing import interval_frame, p_value_text, table_text


@dataclass(frozen=True)
class ReaderDrift:
    """One reader's first classifications against the later ones.

    Attributes:
        reader: The reader.
        count: Number of classifications.
        p_first: Share of incorrect classifications in the first half.
        p_second: The same in the second half, which has one more if their number is odd.
        change: p_second - p_first; below 0 if the reader learns.
        interval: Its interval, by Newcombe.
        p_value: Fisher's exact test of no change.
        p_value_corrected: Corrected by Holm for all readers.
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
        p_value: Exact test of Cochran, Mantel and Haenszel that no reader changes: it compares each reader with
            themselves only.
        confidence: Confidence of the intervals.
        left_out: Readers with a single classification.
    """

    readers: tuple[ReaderDrift, ...]
    p_value: float
    confidence: float
    left_out: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The readers, one a row, with `low` and `high` for the interval."""
        return interval_frame(self.readers)

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
        test = f"all readers, each against themselves (exact Mantel-Haenszel): p-value {p_value_text(self.p_value)}"
        return f"{table_text(header, rows)}\n{test}{left_out}"


def drift(classifications: AnyClassifications, *, confidence: float = 0.95) -> Drift:
    """Compares the first half of each reader's classifications, by time answered, with the second.

    Where all readers see the same images in the same order, they may seem to change together because the images do.

    Args:
        classifications: At least two by one reader.
        confidence: Confidence of all intervals together.

    Raises:
        StudyError: No reader has two classifications.

    Source: Newcombe 1998, 'Interval estimation for the difference between independent proportions', method 10; Mehta,
    Patel and Gray 1985 for the exact test of all readers.
    """
    confidence = check_share("confidence", confidence)
    answers = classifications.answers.sort_values("time_answered", kind="stable")
    counts = answers.groupby("reader").size()
    left_out = tuple(str(reader) for reader in counts.index[counts < 2])
    answers = answers[~answers["reader"].isin(left_out)].reset_index(drop=True)
    if not len(answers):
        raise StudyError("no reader has two classifications, so there is no change to see")
    position = answers.groupby("reader").cumcount()
    answers["later"] = position >= answers["reader"].map(counts) // 2
    readers = {str(reader): _halves(mine) for reader, mine in answers.groupby("reader")}
    corrected = holm([halves.p_value for halves in readers.values()])
    each = together(confidence, len(readers))
    rows = tuple(
        _result(reader, halves, each, float(by_holm))
        for (reader, halves), by_holm in zip(readers.items(), corrected, strict=True)
    )
    return Drift(rows, _halves(answers).p_value, confidence, left_out)


def _halves(answers: pd.DataFrame) -> Contrast:
    """Incorrect ones of the later half against the first, each classification on its own."""
    return contrast(answers["reader"], answers.index.to_series(), answers["later"], ~answers["correct"])


def _result(reader: str, halves: Contrast, confidence: float, corrected: float) -> ReaderDrift:
    first, second = (halves.hits / halves.totals)[:, 0].tolist()
    interval = halves.interval(confidence)
    return ReaderDrift(
        reader, int(halves.totals.sum()), first, second, halves.difference, interval, halves.p_value, corrected
    )
