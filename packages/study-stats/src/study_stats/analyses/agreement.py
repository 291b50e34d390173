"""Agreement of readers on pairs or images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study_stats.classifications.single_images import AnyClassifications
from study_stats.errors import StudyError, check_share, check_whole


@dataclass(frozen=True)
class Agreement:
    """Agreement of readers on the pairs whose synthetic image they recognise.

    Coefficients are 0 where readers agree as often as by chance and 1 where they always do. They are NaN where all
    answers are alike, since chance agrees always then, too. Readers who guess have coefficients near 0.

    Attributes:
        alpha: Krippendorff's alpha, of all pairs that at least two readers saw.
        interval: Its bootstrap interval over pairs.
        pairs: Number of these pairs.
        kappa: Fleiss's kappa, of the pairs that all readers saw; NaN if there are none.
        pairs_of_all: Number of those pairs.
        observed: Share of answers, two by two on one pair, that are alike.
        readers: Number of readers.
        confidence: Confidence of the interval.
        shown: What was shown, 'pair' or 'image'; of single images, `pairs` and `pairs_of_all` count images.
    """

    alpha: float
    interval: tuple[float, float]
    pairs: int
    kappa: float
    pairs_of_all: int
    observed: float
    readers: int
    confidence: float
    shown: str = "pair"

    def __str__(self) -> str:
        """Three lines."""
        low, high = self.interval
        return (
            f"Krippendorff's alpha {self.alpha:.3f}, {100 * self.confidence:.4g}% interval [{low:.3f}, {high:.3f}],"
            f" of {self.pairs:,} {self.shown}s that two readers or more saw\n"
            f"Fleiss's kappa {self.kappa:.3f} of {self.pairs_of_all:,} {self.shown}s"
            f" that all {self.readers} readers saw\n"
            f"{self.observed:.4g} of answers on the same {self.shown} are alike"
        )


def agreement(
    classifications: AnyClassifications, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 2000
) -> Agreement:
    """Measures how far readers agree on which pairs they classify correctly, or on which single images are real.

    For pairs, it compares whether answers are correct, not their side, which is random for each reader; for single
    images, what the readers called them. A reader's first answer on a pair or image counts.

    Args:
        classifications: By at least two readers who saw the same pairs or images.
        rng: Source of the resamples.
        confidence: Confidence of the interval.
        resamples: Number of resamples.

    Raises:
        StudyError: No pair or image was seen by two readers.

    Source: Krippendorff 2011, 'Computing Krippendorff's alpha-reliability'; Fleiss 1971, 'Measuring nominal scale
    agreement among many raters'.
    """
    confidence, resamples = check_share("confidence", confidence), check_whole("number of resamples", resamples, 1)
    first = classifications.answers.sort_values("time_answered", kind="stable").drop_duplicates(["reader", "item"])
    readers = first["reader"].nunique()
    answers = first.groupby("item")["answer"]
    seen, positive = np.asarray(answers.count(), np.float64), np.asarray(answers.sum(), np.float64)
    shared = seen >= 2
    seen, positive = seen[shared], positive[shared]
    if not len(seen):
        raise StudyError(f"no {classifications.shown} was seen by two readers, so there is no agreement to measure")
    weights = rng.multinomial(len(seen), np.full(len(seen), 1 / len(seen)), resamples)
    resampled = _alpha(weights, seen, positive)
    resampled = resampled[np.isfinite(resampled)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if len(resampled) else (np.nan, np.nan)
    two_by_two = seen * (seen - 1)
    unlike = 2 * positive * (seen - positive)
    by_all = seen == readers
    return Agreement(
        alpha=float(_alpha(np.ones((1, len(seen))), seen, positive)[0]),
        interval=(float(low), float(high)),
        pairs=len(seen),
        kappa=_kappa(positive[by_all], readers),
        pairs_of_all=int(by_all.sum()),
        observed=float(1 - unlike.sum() / two_by_two.sum()),
        readers=readers,
        confidence=confidence,
        shown=classifications.shown,
    )


def _alpha(weights: NDArray[Any], seen: NDArray[np.float64], positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Krippendorff's alpha of two values, with pairs counted as often as weights (B, pairs) say; (B,)."""
    answers, yes = weights @ seen, weights @ positive
    observed = weights @ (2 * positive * (seen - positive) / (seen - 1)) / answers
    by_chance = 2 * yes * (answers - yes) / (answers * (answers - 1))
    undefined = np.full(len(weights), np.nan)
    return np.asarray(1 - np.divide(observed, by_chance, out=undefined, where=by_chance > 0))


def _kappa(positive: NDArray[np.float64], readers: int) -> float:
    """Fleiss's kappa of two values."""
    if not len(positive):
        return float("nan")
    share = positive.mean() / readers
    by_chance = 2 * share * (1 - share)
    observed = np.mean(2 * positive * (readers - positive)) / (readers * (readers - 1))
    return float(1 - observed / by_chance) if by_chance > 0 else float("nan")
