"""Whether p is as good as 0.5: equivalence within a margin."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from study_stats.counts import Answers, counts_by_reader
from study_stats.errors import StudyError
from study_stats.intervals import holm, share_interval
from study_stats.printing import interval_text, p_value_text, share_text, table_text


@dataclass(frozen=True)
class ReaderEquivalence:
    """Whether one reader's p, or that of all together, lies within the margin of 0.5.

    Attributes:
        reader: The reader, or 'total'.
        count: Number of classifications.
        p: Share of incorrect ones; NaN if there are none.
        interval: The exact one of confidence 1 - 2 alpha. It lies within the margin when `p_value` is at most alpha.
        p_value: Of the test that p lies outside the margin; small means that it lies inside.
        p_value_corrected: That by Holm, for all readers; of the total, the same as `p_value`.
        equivalent: Whether the corrected p-value is at most alpha.
    """

    reader: str
    count: int
    p: float
    interval: tuple[float, float]
    p_value: float
    p_value_corrected: float
    equivalent: bool


@dataclass(frozen=True)
class Equivalence:
    """Equivalence of p to 0.5, by reader and in total.

    Attributes:
        readers: Each reader.
        total: All classifications as if one reader had made them, as in `Realism`.
        margin: Largest |p - 0.5| that counts as none.
        alpha: Level of the tests.
        all_readers_p_value: Of the test that at least one reader's p lies outside the margin. It needs no correction.
    """

    readers: tuple[ReaderEquivalence, ...]
    total: ReaderEquivalence
    margin: float
    alpha: float
    all_readers_p_value: float

    @property
    def frame(self) -> pd.DataFrame:
        """The readers and the total, one a row, with `low` and `high` for the interval."""
        rows = [asdict(row) for row in (*self.readers, self.total)]
        for row in rows:
            row["low"], row["high"] = row.pop("interval")
        return pd.DataFrame(rows).set_index("reader")

    def __str__(self) -> str:
        """The table, and below it what it says."""
        header = ["reader", "n", "p", f"{100 - 200 * self.alpha:.4g}% interval", "p-value", "Holm", "equivalent"]
        rows = [
            [
                row.reader,
                f"{row.count:,}",
                share_text(row.p),
                interval_text(row.interval),
                p_value_text(row.p_value),
                "" if row is self.total else p_value_text(row.p_value_corrected),
                "yes" if row.equivalent else "not shown",
            ]
            for row in (*self.readers, self.total)
        ]
        low, high = 0.5 - self.margin, 0.5 + self.margin
        verdict = "shown" if self.all_readers_p_value <= self.alpha else "not shown"
        return "\n".join(
            [
                table_text(header, rows),
                f"Two exact one-sided tests that p lies between {low:.4g} and {high:.4g}, at level {self.alpha:.4g}.",
                f"For all readers at once: {verdict} (p-value {p_value_text(self.all_readers_p_value)}).",
            ]
        )


def equivalence(answers: Answers, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Tests whether readers guess, up to a margin: a test that p = 0.5 cannot show that, only fail to show otherwise.

    Args:
        answers: Classifications, or correct and incorrect counts by reader.
        margin: Largest |p - 0.5| that counts as none, between 0 and 0.5; to be settled before the study.
        alpha: Level of the tests.

    Raises:
        StudyError: There are no classifications, or the settings make no sense.

    Source: Schuirmann 1987, 'A comparison of the two one-sided tests procedure'; here with exact binomial tests.
    """
    if not 0 < margin < 0.5:
        raise StudyError(f"a margin of {margin}: it lies between 0 and 0.5")
    if not 0 < alpha < 0.5:
        raise StudyError(f"a level alpha of {alpha}: it lies between 0 and 0.5")
    counts = {reader: (wrong, right + wrong) for reader, (right, wrong) in counts_by_reader(answers).items()}
    asked = [reader for reader, (_, count) in counts.items() if count]
    p_values = {reader: _two_one_sided(*counts[reader], margin) for reader in asked}
    corrected = dict(zip(asked, holm(list(p_values.values())), strict=True))

    def result(reader: str, wrong: int, count: int, p_value: float, corrected: float) -> ReaderEquivalence:
        # An interval of 1 - 2 alpha has alpha at each end, as each of the two tests does.
        interval = share_interval(wrong, count, 1 - 2 * alpha)
        p = wrong / count if count else float("nan")
        return ReaderEquivalence(reader, count, p, interval, p_value, corrected, bool(corrected <= alpha))

    readers = tuple(
        result(reader, *pair, p_values.get(reader, np.nan), float(corrected.get(reader, np.nan)))
        for reader, pair in counts.items()
    )
    wrong, count = (sum(column) for column in zip(*counts.values(), strict=True))
    p_value = _two_one_sided(wrong, count, margin)
    total = result("total", wrong, count, p_value, p_value)
    return Equivalence(readers, total, margin, alpha, max(p_values.values()))


def _two_one_sided(wrong: int, count: int, margin: float) -> float:
    """The larger of the p-values of 'p is too small' and 'p is too large'."""
    above = binomtest(wrong, count, 0.5 - margin, alternative="greater").pvalue
    below = binomtest(wrong, count, 0.5 + margin, alternative="less").pvalue
    return float(max(above, below))
