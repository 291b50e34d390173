"""Folds over groups, and the statistics of classifications that come in groups."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata


def assign_folds(
    real: NDArray[np.int64], fake: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Spreads groups over folds, so that each has about as many real and as many generated images as the others.

    The groups come in random order, the largest first, each to the fold with the fewest images of its kinds.

    Args:
        real: Number of real images of each group, (G,).
        fake: Number of generated images of each group, (G,).
        folds: Number of folds.
        rng: Source of the order.

    Returns:
        The fold of each group, (G,).
    """
    counts = np.stack([real, fake], axis=1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    load = np.zeros((folds, 2), np.int64)
    fold_of = np.empty(len(counts), np.int64)
    for group in order:
        fold = np.lexsort((load.sum(axis=1), load @ counts[group]))[0]
        load[fold] += counts[group]
        fold_of[group] = fold
    return fold_of


def sign_flip_p_value(correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Returns the one-sided p value of a number of correct classifications against chance, over groups.

    Under the null hypothesis, correct and wrong ones of a group are exchanged with probability 1/2, each group on its
    own. The distribution is exact, not sampled. Groups of one image make it the binomial test.

    Args:
        correct: Which images are classified correctly, (N,).
        groups: Number of the group of each image, from 0, (N,).
    """
    surplus = 2 * np.bincount(groups, correct).astype(np.int64) - np.bincount(groups)
    probability = np.ones(1)
    sizes, counts = np.unique(np.abs(surplus[surplus != 0]), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        spread = np.zeros(size * count + 1)
        spread[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        probability = np.convolve(probability, spread)
    least = int(np.abs(surplus).sum() + surplus.sum()) // 2
    return min(1.0, float(probability[least:].sum()))


def accuracy_interval(
    correct: NDArray[np.bool_],
    real: NDArray[np.bool_],
    groups: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Returns the 95 % interval of the accuracy by a bootstrap over groups, in [0, 1].

    Groups of real images, of generated ones and of both are resampled among themselves. Where all images are classified
    correctly, or none, the inner end is that of Clopper and Pearson for as many groups.

    Args:
        correct: Which images are classified correctly, (N,).
        real: Which images are real, (N,).
        groups: Number of the group of each image, from 0, (N,).
        resamples: Number of bootstrap samples.
        rng: Source of the samples.
    """
    group_count = int(groups.max()) + 1
    if correct.all():
        return 0.025 ** (1 / group_count), 1.0
    if not correct.any():
        return 0.0, 1 - 0.025 ** (1 / group_count)
    sizes = np.stack([np.bincount(groups[kind], minlength=group_count) for kind in (real, ~real)])
    hits = np.stack([np.bincount(groups[kind], correct[kind], minlength=group_count) for kind in (real, ~real)])
    kinds = (sizes > 0).T @ (1, 2)
    strata = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    values = np.empty(resamples)
    for number in range(resamples):
        resampled = np.concatenate([stratum[rng.integers(len(stratum), size=len(stratum))] for stratum in strata])
        values[number] = (hits[:, resampled].sum(axis=1) / sizes[:, resampled].sum(axis=1)).mean()
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def area_under_curve(realness: NDArray[np.float64], real: NDArray[np.bool_], folds: NDArray[np.int64]) -> float:
    """Returns the area under the ROC curve: the share of pairs of a fold in which the real image looks more real.

    Only images of one fold are compared, as another network gave the others their values; equal values count half.

    Args:
        realness: How real each image looks, (N,).
        real: Which images are real, (N,).
        folds: The fold of each image, (N,); each has images of both kinds.
    """
    won = pairs = 0.0
    for fold in np.unique(folds):
        of_fold = folds == fold
        count = int(real[of_fold].sum())
        won += rankdata(realness[of_fold])[real[of_fold]].sum() - count * (count + 1) / 2
        pairs += count * (int(of_fold.sum()) - count)
    return float(won / pairs)
