"""Number of classifications that a study needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm

from study_stats.errors import StudyError, check_finite, check_share, check_whole
from study_stats.inference.intervals import IntervalMethod, together, wilson_limits

_MOST = 2**17  # far beyond any study; checking more would take long

_Counts = NDArray[np.int64]


@dataclass(frozen=True)
class SampleSize:
    """Number of classifications that a study needs.

    Attributes:
        each: Classifications of each reader.
        readers: Number of readers.
        purpose: The purpose that they are enough for.
    """

    each: int
    readers: int
    purpose: str

    @property
    def total(self) -> int:
        """Of all readers together."""
        return self.each * self.readers

    def __str__(self) -> str:
        """One line."""
        if self.readers == 1:
            return f"{self.each:,} classifications, for {self.purpose}"
        return f"{self.each:,} classifications by each of {self.readers} readers ({self.total:,}), for {self.purpose}"


def classifications_for_width(
    width: float, *, p: float = 0.5, readers: int = 1, confidence: float = 0.95, method: IntervalMethod = "exact"
) -> SampleSize:
    """Number of classifications at which a reader's interval is no wider than `width`, also with more.

    Args:
        width: From the lower end to the upper one.
        p: Expected share of incorrect ones; at 0.5 intervals are widest.
        readers: Number of readers, whose intervals are to hold all at once.
        confidence: That of all intervals together.
        method: Of the intervals, as in `realism`.

    Raises:
        StudyError: A setting makes no sense, or over 100,000 classifications are needed.
    """
    width, p = check_share("width", width), check_share("share p", p)
    confidence, readers = check_share("confidence", confidence), check_whole("number of readers", readers, 1)
    if method not in ("exact", "wilson"):
        raise StudyError(f"an interval by '{method}': there are 'exact' and 'wilson'")
    each = together(confidence, readers)

    def narrow(counts: _Counts) -> NDArray[np.bool_]:
        wrong = np.rint(counts * p)
        low, high = (
            _exact(wrong, counts, each) if method == "exact" else wilson_limits(wrong, counts, norm.isf((1 - each) / 2))
        )
        return np.asarray(high - low <= width)

    purpose = f"{100 * confidence:.4g}% intervals ({method}) of {width:.4g} where p is {p:.4g}"
    return SampleSize(_from_where_on(narrow), readers, purpose)


def classifications_for_power(p: float, *, readers: int = 1, power: float = 0.8, alpha: float = 0.05) -> SampleSize:
    """Number of classifications at which the exact test finds that a reader's p is not 0.5, and does so with more.

    Args:
        p: The true share of incorrect ones.
        readers: Number of readers, for whom the tests are corrected. This corrects by Bonferroni, which is what Holm's
            correction comes to for the reader that stands out most.
        power: How often a reader's test is to find it.
        alpha: Level of all tests together.

    Raises:
        StudyError: A setting makes no sense, or over 100,000 classifications are needed.
    """
    p, power, alpha = check_share("share p", p), check_share("power", power), check_share("level alpha", alpha)
    if p == 0.5:
        raise StudyError("a share p of 0.5 is what the test is against: there is no difference to find")
    readers = check_whole("number of readers", readers, 1)

    def powerful(counts: _Counts) -> NDArray[np.bool_]:
        # The test rejects up to `last` incorrect ones, and from as many correct ones down: the two tails are alike.
        last = binom.ppf(alpha / readers / 2, counts, 0.5)
        last -= binom.cdf(last, counts, 0.5) > alpha / readers / 2
        return np.asarray(binom.cdf(last, counts, p) + binom.sf(counts - last - 1, counts, p) >= power)

    purpose = f"a power of {power:.4g} to tell p = {p:.4g} from 0.5 at level {alpha:.4g}"
    return SampleSize(_from_where_on(powerful), readers, purpose)


def classifications_for_equivalence(
    margin: float, *, p: float = 0.5, readers: int = 1, power: float = 0.8, alpha: float = 0.05
) -> SampleSize:
    """Number of classifications at which `equivalence` finds a reader's p within the margin, and does so with more.

    Args:
        margin: Largest |p - 0.5| that counts as none.
        p: The true share of incorrect ones, within the margin.
        readers: Number of readers, for whom the tests are corrected (Bonferroni).
        power: How often a reader's test is to find it.
        alpha: Level of all tests together.

    Raises:
        StudyError: A setting makes no sense, or over 100,000 classifications are needed.
    """
    power, alpha = check_share("power", power), check_share("level alpha", alpha)
    margin, p = check_finite("margin", margin), check_finite("share p", p)
    # With room for rounding: no number of classifications shows what lies on the margin itself.
    if not abs(p - 0.5) + 1e-9 < margin < 0.5:
        raise StudyError(f"a margin of {margin} round 0.5 with p {p}: it is below 0.5, and p lies within it")
    readers = check_whole("number of readers", readers, 1)

    def powerful(counts: _Counts) -> NDArray[np.bool_]:
        # The first number of incorrect ones that is too many for p = 0.5 - margin; seen from the other side, the last.
        first = binom.isf(alpha / readers, counts, 0.5 - margin) + 1
        last = counts - first
        found = binom.cdf(last, counts, p) - binom.cdf(first - 1, counts, p)
        return np.asarray((first <= last) & (found >= power))

    purpose = f"a power of {power:.4g} to show p = {p:.4g} within {margin:.4g} of 0.5 at level {alpha:.4g}"
    return SampleSize(_from_where_on(powerful), readers, purpose)


def _from_where_on(enough: Callable[[_Counts], NDArray[np.bool_]]) -> int:
    """The number of classifications from which on they are always enough.

    Counts are whole, so power and width go up and down by turns; the first number that is enough may be luck.
    """
    upper = 64
    while upper <= _MOST:
        # Enough for a sixth of the range: no later number falls short, since the turns get smaller.
        fails = np.flatnonzero(~enough(np.arange(1, upper + 1)))
        if not len(fails) or fails[-1] + 1 < 5 * upper // 6:
            return int(fails[-1]) + 2 if len(fails) else 1
        upper *= 2
    raise StudyError("over 100,000 classifications would be needed by each reader: ask for less")


def _exact(wrong: NDArray[np.float64], counts: _Counts, confidence: float) -> tuple[NDArray[np.float64], ...]:
    tail = (1 - confidence) / 2
    low = np.where(wrong > 0, beta.ppf(tail, np.maximum(wrong, 1), counts - wrong + 1), 0)
    high = np.where(wrong < counts, beta.isf(tail, wrong + 1, np.maximum(counts - wrong, 1)), 1)
    return low, high
