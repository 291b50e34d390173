"""The pooled share, with the uncertainty of sampling both readers and images."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from study_stats.classifications.single_images import AnyClassifications, SingleClassifications
from study_stats.errors import StudyError, check_share, check_whole
from study_stats.inference.crossed import crossed
from study_stats.printing import interval_text


@dataclass(frozen=True)
class PooledRealism:
    """The share of incorrect classifications of all readers together, with its uncertainty.

    Attributes:
        p: The share; of single images, the mean of those of real and of synthetic images.
        interval: Its interval, for other readers and images of the same kind.
        standard_error: Its standard error.
        design_effect: How many times larger its variance is than if classifications were independent.
        confidence: Confidence of the interval.
        readers: Number of readers.
        images: Number of synthetic images; of single images, real ones as well.
        resamples: Number of resamples that the interval comes from.
        empty_resamples: Further resamples that had no classification, and were left out.
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
        text = f"p {self.p:.4f}, {100 * self.confidence:.4g}% interval {interval_text(self.interval)}"
        left_out = f", {self.empty_resamples:,} empty ones left out" if self.empty_resamples else ""
        return (
            f"{text} by {self.resamples:,} resamples of {self.readers} readers and {self.images:,} images{left_out}\n"
            f"{self.design_effect:.3g} times the variance of independent classifications"
        )


def cluster_bootstrap(
    classifications: AnyClassifications, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 10_000
) -> PooledRealism:
    """Pools all readers, and resamples readers and images for the uncertainty of the share.

    A classification counts as often as its reader times its image was sampled. The real images of pairs are not sampled
    separately: a study shows each pair once, so the real image goes with its synthetic one. Of single images, real and
    synthetic ones are sampled separately, and count alike.

    The interval is Student's, of the log-odds, with one degree of freedom less than there are readers or images (of
    either kind), whichever are fewer. Percentiles of the resamples would be too narrow for the handful of readers that
    studies have.

    Args:
        classifications: At least two readers and two synthetic images; of single images, also two real ones.
        rng: Source of the resamples.
        confidence: Confidence of the interval.
        resamples: Number of resamples.

    Raises:
        StudyError: There are too few readers, images or resamples, or all classifications are alike.

    Source: Owen 2007, 'The pigeonhole bootstrap'. It errs on the wide side: where neither readers nor images differ, it
    finds up to three times the variance.
    """
    confidence = check_share("confidence", confidence)
    resamples = check_whole("number of resamples", resamples, 100)
    answers = classifications.answers
    table = crossed(answers["reader"], answers["image"], answers["synthetic"], ~answers["correct"])
    single = isinstance(classifications, SingleClassifications)
    kinds = [table.second, ~table.second] if single else [table.second]
    readers, images = len(table.seen), [int(kind.sum()) for kind in kinds]
    if readers < 2 or min(images) < 2:
        shown = f"{images[0]} synthetic and {images[1]} real images" if single else f"{images[0]} images"
        raise StudyError(f"{readers} readers and {shown}: how much they differ takes at least two of each")
    seen, incorrect = ([counts[:, kind].astype(float) for kind in kinds] for counts in (table.seen, table.hits))
    answered = np.array([kind.sum() for kind in seen])
    p_by_kind = np.array([kind.sum() for kind in incorrect]) / answered
    if np.isin(p_by_kind, (0, 1)).all():
        raise StudyError(
            "all classifications are alike, so resamples show no spread: see the exact interval of realism"
        )
    p = p_by_kind.mean()
    times_reader = rng.multinomial(readers, np.full(readers, 1 / readers), resamples)
    times_image = [rng.multinomial(count, np.full(count, 1 / count), resamples) for count in images]
    drawn, drawn_incorrect = (
        np.stack([np.sum(times_reader @ kind * times, axis=1) for kind, times in zip(counts, times_image, strict=True)])
        for counts in (seen, incorrect)
    )
    filled = (drawn > 0).all(0)
    shares = (drawn_incorrect[:, filled] / drawn[:, filled]).mean(0)
    error = float(shares.std(ddof=1))
    # On the scale of log-odds, so that the interval stays between 0 and 1.
    reach = student.ppf((1 + confidence) / 2, min(readers, *images) - 1) * error / (p * (1 - p))
    low, high = expit(logit(p) + np.array([-reach, reach]))
    return PooledRealism(
        p=float(p),
        interval=(float(low), float(high)),
        standard_error=error,
        design_effect=float(error**2 / (np.sum(p_by_kind * (1 - p_by_kind) / answered) / len(kinds) ** 2)),
        confidence=confidence,
        readers=readers,
        images=sum(images),
        resamples=len(shares),
        empty_resamples=resamples - len(shares),
    )
