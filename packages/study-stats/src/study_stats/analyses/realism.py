"""Realism of synthetic images, by reader and in total."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom, binomtest

from study_stats.classifications.counts import Answers, counts_by_reader
from study_stats.classifications.pairs import Classifications
from study_stats.errors import check_share
from study_stats.inference.intervals import IntervalMethod, holm, share_interval, together
from study_stats.printing import interval_frame, interval_text, p_value_text, pooled_note, table_text


@dataclass(frozen=True)
class ReaderRealism:
    """Realism by one reader, or by all together.

    Attributes:
        reader: The reader, or 'total'.
        correct: How often the real image was chosen.
        incorrect: How often the synthetic one was.
        p: Share of incorrect classifications; guessing gives 0.5. NaN if there are no classifications.
        abs_error: |p - 0.5|.
        p_value: Exact, two-sided binomial test of p = 0.5.
        p_value_corrected: Corrected by Holm for all readers; of the total, the same as `p_value`.
        interval: Lower and upper end of the interval of p.
    """

    reader: str
    correct: int
    incorrect: int
    p: float
    abs_error: float
    p_value: float
    p_value_corrected: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Realism:
    """Realism by reader and in total.

    Attributes:
        readers: Each reader. Their intervals cover all at once as often as `confidence` says (Bonferroni).
        total: All classifications as if one reader had made them. It hides how readers differ: one who is always fooled
            and one who never is look together like one who guesses. `cluster_bootstrap` and `mixed_model` take that in.
        weighted_mae: The readers' |p - 0.5|, weighted by their shares of all classifications.
        guessing_mae: Mean of `weighted_mae` if all readers guess: it is never 0 with a finite number.
        confidence: Confidence of the intervals.
        method: Method of the intervals, 'exact' or 'wilson'.
        versions: Versions of the model that were pooled; empty for counts.
    """

    readers: tuple[ReaderRealism, ...]
    total: ReaderRealism
    weighted_mae: float
    guessing_mae: float
    confidence: float
    method: IntervalMethod
    versions: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """The readers and the total, one a row, with `low` and `high` for the interval."""
        return interval_frame((*self.readers, self.total))

    def __str__(self) -> str:
        """The table, and below it notes for reading it."""
        header = [
            "reader",
            "correct",
            "incorrect",
            "p",
            "|p - 0.5|",
            f"{100 * self.confidence:.4g}% interval",
            "p-value",
            "Holm",
        ]
        rows = [_row(row) for row in (*self.readers, self.total)]
        return "\n".join(
            [
                table_text(header, rows),
                f"weighted MAE {self.weighted_mae:.4f}; by guessing, {self.guessing_mae:.4f}",
                f"Exact binomial tests of p = 0.5. Intervals ({self.method}) hold for all readers at once.",
                "The total takes classifications for independent: see cluster_bootstrap.",
                *pooled_note(self.versions),
            ]
        )


def realism(answers: Answers, *, confidence: float = 0.95, method: IntervalMethod = "exact") -> Realism:
    """Measures how often readers took synthetic images for real ones.

    Args:
        answers: Classifications, or correct and incorrect counts by reader.
        confidence: Confidence of all intervals together.
        method: Method of the intervals: 'exact', by Clopper and Pearson, or 'wilson'.

    Raises:
        StudyError: There are no classifications, or the settings make no sense.

    Example:
        >>> print(realism({"A": (61, 66), "B": (152, 6)}))
        reader  correct  incorrect       p  |p - 0.5|      95% interval   p-value      Holm
        A            61         66  0.5197     0.0197  [0.4171, 0.6211]     0.723     0.723
        B           152          6  0.0380     0.4620  [0.0120, 0.0876]  1.12e-37  2.24e-37
        total       213         72  0.2526     0.2474  [0.2032, 0.3073]  2.38e-17
        weighted MAE 0.2649; by guessing, 0.0334
        Exact binomial tests of p = 0.5. Intervals (exact) hold for all readers at once.
        The total takes classifications for independent: see cluster_bootstrap.
    """
    confidence = check_share("confidence", confidence)
    counts = counts_by_reader(answers)
    p_values = [binomtest(wrong, right + wrong).pvalue if right + wrong else np.nan for right, wrong in counts.values()]
    each = together(confidence, int(np.isfinite(p_values).sum()))
    readers = tuple(
        _result(reader, *pair, p_value, by_holm, each, method)
        for (reader, pair), p_value, by_holm in zip(counts.items(), p_values, holm(p_values), strict=True)
    )
    correct, incorrect = (sum(column) for column in zip(*counts.values(), strict=True))
    p_value = binomtest(incorrect, correct + incorrect).pvalue
    total = _result("total", correct, incorrect, p_value, p_value, confidence, method)
    # n |p - 0.5| = |incorrect - n / 2|, so a reader without classifications adds nothing.
    errors = [abs(wrong - (right + wrong) / 2) for right, wrong in counts.values()]
    guessed = [_guessing_error(sum(pair)) for pair in counts.values()]
    answered = correct + incorrect
    versions = tuple(answers.versions) if isinstance(answers, Classifications) else ()
    return Realism(readers, total, sum(errors) / answered, sum(guessed) / answered, confidence, method, versions)


def _result(
    reader: str,
    correct: int,
    incorrect: int,
    p_value: float,
    corrected: float,
    confidence: float,
    method: IntervalMethod,
) -> ReaderRealism:
    count = correct + incorrect
    p = incorrect / count if count else float("nan")
    interval = share_interval(incorrect, count, confidence, method)
    return ReaderRealism(reader, correct, incorrect, p, abs(p - 0.5), float(p_value), float(corrected), interval)


def _guessing_error(count: int) -> float:
    """Mean of |incorrect - n / 2| over all outcomes of n guesses."""
    outcomes = np.arange(count + 1)
    return float(np.sum(binom.pmf(outcomes, count, 0.5) * np.abs(outcomes - count / 2)))


def _row(row: ReaderRealism) -> Sequence[str]:
    counts = [row.reader, f"{row.correct:,}", f"{row.incorrect:,}"]
    if not row.correct + row.incorrect:
        return [*counts, "-", "-", "-", "-", "-"]
    tests = [p_value_text(row.p_value), "" if row.reader == "total" else p_value_text(row.p_value_corrected)]
    return [*counts, f"{row.p:.4f}", f"{row.abs_error:.4f}", interval_text(row.interval), *tests]
