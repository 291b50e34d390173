"""Two groups of images compared: how often each gets an answer, each reader against themselves."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from study_stats.inference.crossed import crossed
from study_stats.inference.intervals import wilson_limits
from study_stats.inference.permutation import permutation_test

_FARTHEST = 38.0  # standard errors; beyond, a p-value is 0 in float64


@dataclass(frozen=True, eq=False)
class Contrast:
    """The difference of two shares, of a second group of images less a first, in the readers who saw both.

    Each reader's difference counts by the weight of Mantel and Haenszel. It is that of these readers, and of other
    images like these: answers of several readers on one image are not taken for independent.

    Attributes:
        hits: How often each reader gave the answer on images of the first and of the second group, (2, readers).
        totals: How often they answered, (2, readers).
        inflation: How many times larger the variance is than if readers had seen different images; at least 1.
        scores: How often these readers gave the answer on each image, (images,).
        second: Which images are of the second group, (images,).
        strata: Which images the same readers saw: those of the same number, (images,).
    """

    hits: NDArray[np.int64]
    totals: NDArray[np.int64]
    inflation: float
    scores: NDArray[np.int64]
    second: NDArray[np.bool_]
    strata: NDArray[np.int64]

    @cached_property
    def p_value(self) -> float:
        """Of the test that the groups are alike, which exchanges images that the same readers saw.

        It is NaN if no reader saw both groups.
        """
        return permutation_test(self.scores, self.second, self.strata) if self.images else float("nan")

    @property
    def images(self) -> int:
        """Number of images that readers saw who saw both groups."""
        return len(self.scores)

    @property
    def exchanged(self) -> int:
        """For how many of them there are images of the other group that the same readers saw."""
        groups = (self.strata[self.second], self.strata[~self.second])
        return int(np.sum(np.isin(self.strata, groups[0]) & np.isin(self.strata, groups[1])))

    @property
    def difference(self) -> float:
        """The share in the second group less that in the first; NaN if no reader saw both groups."""
        shares = self.hits / self.totals
        return float(_weights(self.totals) @ (shares[1] - shares[0])) if shares.size else float("nan")

    def interval(self, confidence: float) -> tuple[float, float]:
        """Returns the interval of the difference; all from -1 to 1 if no reader saw both groups.

        Source: Zou, Huang and Zhang 2009, 'A note on confidence interval estimation for a linear function of binomial
        proportions': for one reader, method 10 of Newcombe 1998. Its reach grows with the root of the inflation, by
        which Rao and Scott 1992, 'A simple method for the analysis of clustered binary data', divide the counts.
        """
        if not self.totals.size:
            return (-1.0, 1.0)
        z = float(norm.isf((1 - confidence) / 2))
        return (max(-1.0, self._limit(z)), min(1.0, self._limit(-z)))

    def p_value_of_equivalence(self, margin: float) -> float:
        """Returns the p-value of two one-sided tests that the difference lies outside the margin round 0.

        It is the level at which an interval of confidence 1 - 2 level just lies within the margin. It is approximate,
        as the interval is.
        """
        if not self.totals.size:
            return float("nan")
        return float(max(norm.sf(self._reach(-margin)), norm.cdf(self._reach(margin))))

    def _limit(self, z: float) -> float:
        """The lower end of the interval that reaches z standard errors; for z below 0, the upper end."""
        shares = self.hits / self.totals
        low, high = wilson_limits(self.hits, self.totals, abs(z))
        # Down where the second group's share is less and the first one's is more; up the other way.
        ends = (high[0], low[1]) if z > 0 else (low[0], high[1])
        squares = (shares[0] - ends[0]) ** 2 + (shares[1] - ends[1]) ** 2
        reach = np.sqrt(self.inflation * (_weights(self.totals) ** 2 @ squares))
        return float(self.difference - np.sign(z) * reach)

    def _reach(self, bound: float) -> float:
        """The z at which `_limit` comes to the bound; it falls as z grows."""
        if self._limit(_FARTHEST) >= bound:
            return _FARTHEST
        if self._limit(-_FARTHEST) <= bound:
            return -_FARTHEST
        return float(brentq(lambda z: self._limit(z) - bound, -_FARTHEST, _FARTHEST))


def contrast(readers: pd.Series, images: pd.Series, second: pd.Series, hits: pd.Series) -> Contrast:
    """Compares two groups of images.

    Args:
        readers: Who gave each answer, (N,).
        images: On which image, (N,); an image is in one of the groups.
        second: Whether that image is of the second group, (N,).
        hits: Whether the answer is the one that is counted, (N,).
    """
    table = crossed(readers, images, second, hits)
    # Only readers who saw both groups tell of a difference, and only the images that they saw.
    both = table.seen[:, table.second].any(1) & table.seen[:, ~table.second].any(1)
    shown = table.seen[both].any(0)
    seen, hit, in_second = table.seen[both][:, shown], table.hits[both][:, shown], table.second[shown]
    groups = (~in_second, in_second)
    totals, sums = (np.stack([counts[:, group].sum(1) for group in groups]) for counts in (seen, hit))
    if not both.any():
        return Contrast(sums, totals, 1.0, hit.sum(0), in_second, np.zeros(0, np.int64))
    strata = np.unique(seen, axis=1, return_inverse=True)[1].ravel()
    by_images = independent = 0.0
    for group, total, weight in zip(groups, totals, _weights(totals) / totals, strict=True):
        share = hit[:, group].sum(1) / total
        by_images += np.sum((weight @ (hit[:, group] - seen[:, group] * share[:, None])) ** 2)
        independent += np.sum(weight**2 * share * (1 - share) * total)
    inflation = max(1.0, float(by_images / independent)) if independent > 0 else 1.0
    return Contrast(sums, totals, inflation, hit.sum(0), in_second, strata)


def _weights(totals: NDArray[np.int64]) -> NDArray[np.float64]:
    weights = totals[0] * totals[1] / totals.sum(0)
    return np.asarray(weights / weights.sum())
