"""Intervals of shares, and p-values corrected for their number."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from study_stats.errors import StudyError

IntervalMethod: TypeAlias = Literal["exact", "wilson"]
"""'exact' is that of Clopper and Pearson, which covers at least as often as it says; Wilson's does so on average."""


def share_interval(count: int, total: int, confidence: float, method: IntervalMethod = "exact") -> tuple[float, float]:
    """Returns the interval of a share of which `count` out of `total` were seen; of nothing seen, all from 0 to 1."""
    if method not in ("exact", "wilson"):
        raise StudyError(f"an interval by '{method}': there are 'exact' and 'wilson'")
    if total == 0:
        return (0.0, 1.0)
    found = binomtest(count, total).proportion_ci(confidence, method)
    return (float(found.low), float(found.high))


def wilson_limits(
    counts: NDArray[Any], totals: NDArray[Any], z: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lower and upper ends of Wilson's intervals of shares that reach z standard errors to each side."""
    share = counts / totals
    middle = (share + z**2 / (2 * totals)) / (1 + z**2 / totals)
    half = z * np.sqrt(share * (1 - share) / totals + z**2 / (4 * totals**2)) / (1 + z**2 / totals)
    return middle - half, middle + half


def together(confidence: float, count: int) -> float:
    """The confidence that each of several intervals needs, so that all of them cover at once with that confidence.

    Source: Bonferroni's inequality. Holm's correction of p-values has no interval of its own that is as short.
    """
    return 1 - (1 - confidence) / max(count, 1)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Corrects p-values for their number; a NaN stands for no test, stays and does not count.

    Source: Holm 1979, 'A simple sequentially rejective multiple test procedure'.
    """
    found = np.asarray(p_values, np.float64)
    order = np.argsort(found, kind="stable")  # NaN comes last
    tests = int(np.isfinite(found).sum())
    corrected = np.empty_like(found)
    steps = found[order] * np.maximum(tests - np.arange(len(found)), 1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected
