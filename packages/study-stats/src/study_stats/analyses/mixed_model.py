"""A mixed model of the pooled share: readers and images differ, each by its own amount."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit
from scipy.stats import t as student
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from study_stats.classifications.pairs import Classifications
from study_stats.errors import StudyError, check_share
from study_stats.printing import interval_text

# Wide for log-odds: the statsmodels default of 2 would draw p towards 0.5, which is what a study wants to see.
_INTERCEPT_PRIOR_SD = 10.0
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True)
class MixedModel:
    """Log-odds of an incorrect classification: a common value, plus one of the reader, plus one of the image.

    Attributes:
        p: Share of incorrect classifications, on average over readers and images like these.
        interval: Its interval.
        reader_sd: How much readers differ: standard deviation of their log-odds.
        image_sd: How much synthetic images differ, likewise.
        log_odds: The common value, of a reader and image in the middle.
        standard_error: Its standard error.
        confidence: That of the interval.
        readers: Number of readers.
        images: Number of synthetic images.
    """

    p: float
    interval: tuple[float, float]
    reader_sd: float
    image_sd: float
    log_odds: float
    standard_error: float
    confidence: float
    readers: int
    images: int

    def __str__(self) -> str:
        """Two lines."""
        return (
            f"p {self.p:.4f}, {100 * self.confidence:.4g}% interval {interval_text(self.interval)} by a mixed model of"
            f" {self.readers} readers and {self.images:,} images\n"
            f"log-odds {self.log_odds:+.3f} (standard error {self.standard_error:.3f});"
            f" they differ by {self.reader_sd:.3f} between readers, {self.image_sd:.3f} between images"
        )


def mixed_model(classifications: Classifications, *, confidence: float = 0.95) -> MixedModel:
    """Fits a logistic model with a random effect of the reader and one of the synthetic image.

    Why not GEE: its clusters are readers or images, not both at once, and it needs dozens of them. The variances come
    from statsmodels' variational Bayes. The standard error does not: that method treats the common value and the
    readers as independent, and so takes no account of how few the readers are: with five of them, its 95 % intervals
    cover 60 % of the time. Here it is from the inverse of the whole information matrix, with Student's quantile of one
    degree of freedom less than there are readers or images, whichever are fewer; these intervals cover 98 %.

    The variances have a wide prior (the logarithm of the standard deviation is 0 +- 1), which decides where readers are
    two or three or where each image was seen once.

    Args:
        classifications: At least two readers and two synthetic images, not all answers alike.
        confidence: That of the interval.

    Raises:
        StudyError: There is too little to fit, or the fit does not converge.

    Source: Breslow & Clayton 1993, 'Approximate inference in generalized linear mixed models', for the information.
    """
    confidence = check_share("confidence", confidence)
    if not isinstance(classifications, Classifications):
        raise StudyError("the mixed model is of pairs; of single images, there is cluster_bootstrap")
    frame = classifications.frame
    reader, readers = _codes(frame["reader"].to_numpy())
    image, images = _codes(frame["synthetic_image"].to_numpy())
    if readers < 2 or images < 2:
        raise StudyError(f"{readers} readers and {images} images: how much they differ takes at least two of each")
    incorrect = (~frame["correct"]).to_numpy(np.float64)
    if incorrect.min() == incorrect.max():
        raise StudyError(
            "all classifications are alike, so there is no spread to model: see the exact interval of realism"
        )

    count, effects = len(frame), readers + images
    rows = np.tile(np.arange(count), 2)
    design = sparse.csr_matrix(
        (np.ones(2 * count), (rows, np.concatenate([reader, readers + image]))), (count, effects)
    )
    kinds = np.repeat([0, 1], [readers, images])
    model = BinomialBayesMixedGLM(incorrect, np.ones((count, 1)), design, kinds, vcp_p=1, fe_p=_INTERCEPT_PRIOR_SD)
    # A start of its own, since the default is drawn from a global generator.
    start = 1 + 2 + effects
    options = {"maxiter": 5000, "maxfun": 20_000}
    with np.errstate(over="ignore"):
        fit = model.fit_vb(np.zeros(start), np.full(start, 0.6), fit_method="L-BFGS-B", minim_opts=options)
    if not fit.optim_retvals.success:
        raise StudyError(f"the mixed model does not converge: {fit.optim_retvals.message}")
    spreads = np.exp(fit.vcp_mean)
    middle = float(fit.fe_mean[0])
    error = _standard_error(expit(middle + design @ fit.vc_mean), design, 1 / spreads[kinds] ** 2)
    reach = student.ppf((1 + confidence) / 2, min(readers, images) - 1) * error
    low, p, high = (_average(middle + step, float(np.hypot(*spreads))) for step in (-reach, 0.0, reach))
    return MixedModel(
        p=p,
        interval=(low, high),
        reader_sd=float(spreads[0]),
        image_sd=float(spreads[1]),
        log_odds=middle,
        standard_error=error,
        confidence=confidence,
        readers=readers,
        images=images,
    )


def _codes(names: NDArray[np.object_]) -> tuple[NDArray[np.int64], int]:
    """Numbers of the names in the order of the alphabet, and how many different ones there are."""
    unique, codes = np.unique(names.astype(str), return_inverse=True)
    return codes.astype(np.int64), len(unique)


def _standard_error(fitted: NDArray[np.float64], design: sparse.csr_matrix, precisions: NDArray[np.float64]) -> float:
    """Standard error of the common value, the effects unknown: root of the corner of the inverse information.

    Args:
        fitted: Fitted shares, (N,).
        design: Which effects each classification has, (N, effects).
        precisions: Of the effects, (effects,).
    """
    weights = fitted * (1 - fitted)
    between = (design.T @ sparse.diags(weights) @ design).toarray() + np.diag(precisions)
    across = design.T @ weights
    corner = weights.sum() + _INTERCEPT_PRIOR_SD**-2 - across @ np.linalg.solve(between, across)
    return float(corner**-0.5)


def _average(log_odds: float, spread: float) -> float:
    """Average share over normal log-odds of this spread, by Gauss-Hermite quadrature."""
    return float(_WEIGHTS @ expit(log_odds + spread * _NODES) / _WEIGHTS.sum())
