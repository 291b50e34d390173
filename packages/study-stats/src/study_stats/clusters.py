"""The pooled share with the uncertainty that comes from readers and images being a sample."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from study_stats.classifications import Classifications
from study_stats.errors import StudyError, check_share
from study_stats.printing import interval_text


@dataclass(frozen=True)
class PooledRealism:
    """The share of incorrect classifications of all readers together, and how sure it is.

    Attributes:
        p: The share.
        interval: Its interval, for other readers and images of the same kind.
        standard_error: Its standard error.
        design_effect: How many times larger its variance is than if classifications were independent.
        confidence: That of the interval.
        readers: Number of readers.
        images: Number of synthetic images.
        resamples: Number of resamples that the interval comes from.
        empty_resamples: How many more had no classification in them, and were left out.
    """

    p: float
    interval: tuple[float, float]
    standard_error: float
    design_effect: float
    confidence: float
    readers: int
    images: int
    resamples: int
    empty_resamples: int

    def __str__(self) -> str:
        """One line, and another on what it means."""
        told = f"p {self.p:.4f}, {100 * self.confidence:.4g}% interval {interval_text(self.interval)}"
        left_out = f", {self.empty_resamples:,} empty ones left out" if self.empty_resamples else ""
        return (
            f"{told} by {self.resamples:,} resamples of {self.readers} readers and {self.images:,} images{left_out}\n"
            f"{self.design_effect:.3g} times the variance of independent classifications"
        )


def cluster_bootstrap(
    classifications: Classifications, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 10_000
) -> PooledRealism:
    """Pools all readers, and draws readers and synthetic images anew to see how sure the share is.

    A classification counts as often as its reader times its image was drawn. Real images are not drawn separately: a
    study shows each pair once, so that the real image goes with its synthetic one.

    The interval is Student's, of the log-odds, with one degree of freedom less than there are readers or images,
    whichever are fewer. Percentiles of the resamples would be too narrow for the handful of readers that studies have.

    Args:
        classifications: At least two readers and two synthetic images.
        rng: Where the resamples come from.
        confidence: That of the interval.
        resamples: How many to draw.

    Raises:
        StudyError: There are too few readers, images or resamples, or all classifications are alike.

    Source: Owen 2007, 'The pigeonhole bootstrap'. It errs on the wide side: where neither readers nor images differ, it
    finds up to three times the variance.
    """
    check_share("confidence", confidence)
    if resamples < 100:
        raise StudyError(f"{resamples} resamples: wanted at least 100")
    frame = classifications.frame
    everything = pd.crosstab(frame["reader"], frame["synthetic_image"]).to_numpy(np.float64)
    readers, images = everything.shape if len(frame) else (0, 0)
    if readers < 2 or images < 2:
        raise StudyError(f"{readers} readers and {images} images: how much they differ takes at least two of each")
    fooled = pd.crosstab(frame["reader"], frame["synthetic_image"], (~frame["correct"]).astype(float), aggfunc="sum")
    incorrect = fooled.fillna(0.0).to_numpy(np.float64)
    p = incorrect.sum() / everything.sum()
    if p in (0, 1):
        raise StudyError(
            "all classifications are alike, so resamples show no spread: see the exact interval of realism"
        )
    times_reader = rng.multinomial(readers, np.full(readers, 1 / readers), resamples)
    times_image = rng.multinomial(images, np.full(images, 1 / images), resamples)
    drawn = np.sum(times_reader @ everything * times_image, axis=1)
    drawn_incorrect = np.sum(times_reader @ incorrect * times_image, axis=1)
    shares = drawn_incorrect[drawn > 0] / drawn[drawn > 0]
    error = float(shares.std(ddof=1))
    # On the scale of log-odds, so that the interval stays between 0 and 1.
    reach = student.ppf((1 + confidence) / 2, min(readers, images) - 1) * error / (p * (1 - p))
    low, high = expit(logit(p) + np.array([-reach, reach]))
    return PooledRealism(
        p=float(p),
        interval=(float(low), float(high)),
        standard_error=error,
        design_effect=float(error**2 / (p * (1 - p) / everything.sum())),
        confidence=confidence,
        readers=readers,
        images=images,
        resamples=len(shares),
        empty_resamples=resamples - len(shares),
    )
