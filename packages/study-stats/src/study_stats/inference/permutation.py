"""A permutation test of two groups within strata."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy
from scipy.stats import norm

Alternative: TypeAlias = Literal["two-sided", "greater"]
"""'greater' if only higher sums of the second group count against it."""
_Stratum: TypeAlias = tuple[Sequence[int], Sequence[int], int]
"""Distinct scores, the number of each, and how many scores are chosen."""

_MOST_STEPS = 5e8  # a second or two


def permutation_test(
    scores: NDArray[np.int64],
    second: NDArray[np.bool_],
    strata: NDArray[Any],
    alternative: Alternative = "two-sided",
) -> float:
    """Tests that scores of the second group are like those of the first, given the scores of both in each stratum.

    All ways of choosing the second group from a stratum are equally likely, and the sum of its scores is compared with
    those of all of them. With scores of 0 and 1 this is Fisher's exact test, and with several strata the exact
    one of Cochran, Mantel and Haenszel. A stratum with only one group does not contribute.

    It is exact unless there are so many high scores that it would take long, such as those of 1,000 images that eight
    readers saw. Then a normal approximation with continuity correction is used.

    Args:
        scores: Whole numbers, 0 or more, (N,).
        second: Whether each is of the second group, (N,).
        strata: Stratum of each, (N,).
        alternative: The sums that count against it.

    Returns:
        The p-value; the two-sided one takes in all sums that are no more likely than the one seen.

    Source: Mehta, Patel and Gray 1985, 'Computing an exact confidence interval for the common odds ratio in several 2x2
    contingency tables', for tables; here for scores.
    """
    inside = [strata == stratum for stratum in np.unique(strata)]
    chosen = []
    for places in inside:
        values, counts = np.unique(scores[places], return_counts=True)
        chosen.append((values.tolist(), counts.tolist(), int(second[places].sum())))
    return _p_value(chosen, int(scores[second].sum()), alternative)


def permutation_test_of_tables(
    hits: NDArray[np.int64], totals: NDArray[np.int64], alternative: Alternative = "two-sided"
) -> float:
    """The same test of scores of 0 and 1, given how many there are.

    Args:
        hits: How many scores of 1 there are in the first and second group, (2, strata).
        totals: How many scores there are, (2, strata).
        alternative: As in `permutation_test`.
    """
    ones, sizes = hits.sum(0), totals.sum(0)
    chosen = [
        ([0, 1], [int(size - one), int(one)], int(second))
        for one, size, second in zip(ones, sizes, totals[1], strict=True)
        if size
    ]
    return _p_value(chosen, int(hits[1].sum()), alternative)


def _p_value(strata: Sequence[_Stratum], seen: int, alternative: Alternative) -> float:
    # A stratum with one group only has one sum, which need not be worked out.
    seen -= sum(int(np.dot(values, counts)) for values, counts, chosen in strata if chosen == sum(counts))
    strata = [stratum for stratum in strata if 0 < stratum[2] < sum(stratum[1])]
    if sum(_steps(*stratum) for stratum in strata) > _MOST_STEPS:
        return _normal_p_value(strata, seen, alternative)
    likely = np.ones(1)
    for stratum in strata:
        likely = np.convolve(likely, _sums(*stratum))
    # Sums that are as likely as the one seen may come out an ulp apart.
    counts = np.arange(len(likely)) >= seen if alternative == "greater" else likely <= likely[seen] * (1 + 1e-7)
    return float(min(1.0, likely[counts].sum()))


def _sums(values: Sequence[int], counts: Sequence[int], chosen: int) -> NDArray[np.float64]:
    """Probability of each sum of so many scores, sampled without replacement."""
    share = chosen / sum(counts)
    # likely[k, s]: that k were chosen so far, with the sum s. Each score is chosen independently with the same chance;
    # given that the right number is chosen in the end, that is sampling without replacement.
    likely = np.ones((1, 1))
    for value, count in zip(values, counts, strict=True):
        most = min(count, chosen)
        before, width = likely, likely.shape[1]
        likely = np.zeros((min(len(before) + count, chosen + 1), width + value * most))
        for times, chance in enumerate(_binomial(count, share)[: most + 1]):
            rows = before[: len(likely) - times]
            likely[times : times + len(rows), value * times : value * times + width] += chance * rows
    return np.asarray(likely[chosen] / likely[chosen].sum())


def _binomial(count: int, share: float) -> NDArray[np.float64]:
    """The chances of 0 to count; scipy's own takes longer for a few than all else here."""
    times = np.arange(count + 1)
    ways = gammaln(count + 1) - gammaln(times + 1) - gammaln(count - times + 1)
    return np.asarray(np.exp(ways + xlogy(times, share) + xlog1py(count - times, -share)))


def _steps(values: Sequence[int], counts: Sequence[int], chosen: int) -> int:
    """How many numbers `_sums` adds up."""
    steps, rows, width = 0, 1, 1
    for value, count in zip(values, counts, strict=True):
        most = min(count, chosen)
        steps += (most + 1) * rows * width
        rows, width = min(rows + count, chosen + 1), width + value * most
    return steps


def _normal_p_value(strata: Sequence[_Stratum], seen: int, alternative: Alternative) -> float:
    mean = variance = 0.0
    for values, counts, chosen in strata:
        size, scores = sum(counts), np.asarray(values, np.float64)
        middle = float(np.average(scores, weights=counts))
        spread = float(np.average((scores - middle) ** 2, weights=counts))
        mean += chosen * middle
        variance += chosen * (size - chosen) / max(size - 1, 1) * spread
    above = (seen - mean if alternative == "greater" else abs(seen - mean)) - 0.5
    return min(1.0, float(norm.sf(above / np.sqrt(variance))) * (1 if alternative == "greater" else 2))
