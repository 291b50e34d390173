"""Equivalence of p to 0.5 within a margin."""

from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from study_stats.analyses.discrimination import real_against_synthetic
from study_stats.classifications.counts import Answers, SingleAnswers, counts_by_reader, is_single, single_answers
from study_stats.errors import check_share
from study_stats.inference.contrasts import Contrast
from study_stats.inference.intervals import holm, share_interval
from study_stats.printing import interval_frame, interval_text, p_value_text, share_text, table_text


@dataclass(frozen=True)
class ReaderEquivalence:
    """Whether one reader's p, or that of all together, lies within the margin of 0.5.

    Of single images, p is the mean of the share of real images and of that of synthetic ones that were taken for the
    other. So it is 0.5 less half the difference of `Discrimination`.

    Attributes:
        reader: The reader, or 'total'.
        count: Number of classifications.
        p: Share of incorrect ones; NaN if there are none, or of one kind only.
        interval: Interval of confidence 1 - 2 alpha. It lies within the margin when `p_value` is at most alpha.
        p_value: Test of the hypothesis that p lies outside the margin; small means that it lies inside.
        p_value_corrected: Corrected by Holm for all readers; of the total, the same as `p_value`.
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
        total: All classifications as if one reader had made them, as in `Realism`; of single images, each reader
            against themselves, as in `Discrimination`.
        margin: Largest |p - 0.5| that counts as none.
        alpha: Level of the tests.
        all_readers_p_value: Of the test that at least one reader's p lies outside the margin. It needs no correction.
        method: Of tests and intervals: 'exact', or 'newcombe' of single images.
    """

    readers: tuple[ReaderEquivalence, ...]
    total: ReaderEquivalence
    margin: float
    alpha: float
    all_readers_p_value: float
    method: Literal["exact", "newcombe"] = "exact"

    @property
    def frame(self) -> pd.DataFrame:
        """The readers and the total, one a row, with `low` and `high` for the interval."""
        return interval_frame((*self.readers, self.total))

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
        tests = "exact one-sided tests" if self.method == "exact" else "one-sided tests (Newcombe)"
        verdict = "shown" if self.all_readers_p_value <= self.alpha else "not shown"
        return "\n".join(
            [
                table_text(header, rows),
                f"Two {tests} that p lies between {low:.4g} and {high:.4g}, at level {self.alpha:.4g}.",
                f"For all readers at once: {verdict} (p-value {p_value_text(self.all_readers_p_value)}).",
            ]
        )


def equivalence(answers: Answers | SingleAnswers, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Tests whether readers guess, up to a margin: a test that p = 0.5 cannot show that, only fail to show otherwise.

    Of single images it tests whether real and synthetic ones are called real equally often, up to twice the margin: p
    is half of one minus the difference, so that a margin means the same as of pairs.

    Args:
        answers: Classifications of pairs or single images, or their counts by reader.
        margin: Largest |p - 0.5| that counts as none, between 0 and 0.5; to be settled before the study.
        alpha: Level of the tests.

    Raises:
        StudyError: There are no classifications, or the settings make no sense.

    Source: Schuirmann 1987, 'A comparison of the two one-sided tests procedure'; here with exact binomial tests, and of
    single images with the intervals of `Contrast`.
    """
    margin, alpha = check_share("margin", margin, 0.5), check_share("level alpha", alpha, 0.5)
    shares, total = _single(answers) if is_single(answers) else _pairs(cast(Answers, answers))
    p_values = [share.outside(margin) for share in shares.values()]

    def result(reader: str, share: _Share, p_value: float, corrected: float) -> ReaderEquivalence:
        # An interval of 1 - 2 alpha has alpha at each end, as each of the two tests does.
        interval = share.interval(1 - 2 * alpha)
        return ReaderEquivalence(reader, share.count, share.p, interval, p_value, corrected, corrected <= alpha)

    readers = tuple(
        result(reader, share, p_value, float(by_holm))
        for (reader, share), p_value, by_holm in zip(shares.items(), p_values, holm(p_values), strict=True)
    )
    p_value = total.outside(margin)
    method: Literal["exact", "newcombe"] = "newcombe" if is_single(answers) else "exact"
    return Equivalence(
        readers, result("total", total, p_value, p_value), margin, alpha, float(np.nanmax(p_values)), method
    )


class _Share(Protocol):
    """A share that is 0.5 by guessing."""

    @property
    def count(self) -> int: ...
    @property
    def p(self) -> float: ...
    def interval(self, confidence: float) -> tuple[float, float]: ...
    def outside(self, margin: float) -> float:
        """The larger of the p-values of 'p is too small' and 'p is too large'."""


def _pairs(answers: Answers) -> tuple[dict[str, _Share], _Share]:
    counts = {reader: (wrong, right + wrong) for reader, (right, wrong) in counts_by_reader(answers).items()}
    wrong, count = (sum(column) for column in zip(*counts.values(), strict=True))
    return {reader: _Guesses(*pair) for reader, pair in counts.items()}, _Guesses(wrong, count)


def _single(answers: SingleAnswers) -> tuple[dict[str, _Share], _Share]:
    contrasts, pooled = real_against_synthetic(single_answers(answers))
    return {reader: _Balanced(found) for reader, found in contrasts.items()}, _Balanced(pooled)


@dataclass(frozen=True)
class _Guesses:
    """Share of incorrect ones of pairs."""

    wrong: int
    count: int

    @property
    def p(self) -> float:
        return self.wrong / self.count if self.count else float("nan")

    def interval(self, confidence: float) -> tuple[float, float]:
        return share_interval(self.wrong, self.count, confidence)

    def outside(self, margin: float) -> float:
        if not self.count:
            return float("nan")
        above = binomtest(self.wrong, self.count, 0.5 - margin, alternative="greater").pvalue
        below = binomtest(self.wrong, self.count, 0.5 + margin, alternative="less").pvalue
        return float(max(above, below))


@dataclass(frozen=True)
class _Balanced:
    """Share of incorrect ones of single images, real and synthetic ones counting alike."""

    contrast: Contrast

    @property
    def count(self) -> int:
        return int(self.contrast.totals.sum())

    @property
    def p(self) -> float:
        return (1 - self.contrast.difference) / 2

    def interval(self, confidence: float) -> tuple[float, float]:
        low, high = self.contrast.interval(confidence)
        return ((1 - high) / 2, (1 - low) / 2)

    def outside(self, margin: float) -> float:
        return self.contrast.p_value_of_equivalence(2 * margin)
