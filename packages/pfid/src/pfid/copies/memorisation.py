"""Copies of training images among generated images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from pfid.device import Device
from pfid.errors import FeatureError, is_finite
from pfid.features.checks import checked_pair
from pfid.metrics.neighbours import nearest


@dataclass(frozen=True)
class Pair:
    """A generated image and the training image nearest to it.

    Attributes:
        fake: Number of the generated image.
        train: Number of the training image.
        distance: Distance of their features.
    """

    fake: int
    train: int
    distance: float


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Distances from generated images to training images, compared with those from other real images.

    Attributes:
        nearest: Index of the training image nearest to each generated one, (N,).
        distances: Its distance, (N,).
        real_distances: Distance of each real image to the training image nearest to it, without duplicates, (M,).
        against: The real images compared with: 'held-out', or 'training' if each training image was compared with all
            others.
        quantile: Share of the real images that counts as copies.
        threshold: Distance up to which an image counts as a copy: that quantile of the real distances.
        p_value: One-sided Mann-Whitney test of the hypothesis that generated images are as far from training images as
            real ones are, against being nearer. If small, training images are copied, or nearly so.
        duplicates: Number of real images left out as duplicates: training images that repeat another one, or held-out
            images that are training images.
    """

    nearest: NDArray[np.int64]
    distances: NDArray[np.float64]
    real_distances: NDArray[np.float64]
    against: str
    quantile: float
    threshold: float
    p_value: float
    duplicates: int

    @property
    def copies(self) -> NDArray[np.int64]:
        """Indices of the generated images that count as copies."""
        return np.flatnonzero(self.distances <= self.threshold)

    @property
    def share(self) -> float:
        """Share of the generated images that count as copies; a model that copies nothing has about `quantile`."""
        return len(self.copies) / len(self.distances)

    def is_copy(self, pair: Pair) -> bool:
        """Whether the generated image of a pair counts as a copy."""
        return pair.distance <= self.threshold

    def closest(self, count: int) -> list[Pair]:
        """Returns the generated images nearest to a training image with that image, the nearest first.

        Args:
            count: How many to return, if there are as many.
        """
        order = np.argsort(self.distances, kind="stable")[:count]
        return [Pair(int(i), int(self.nearest[i]), float(self.distances[i])) for i in order]


def memorisation(
    *,
    train: NDArray[Any],
    fake: NDArray[Any],
    held_out: NDArray[Any] | None = None,
    quantile: float = 0.05,
    device: Device = None,
) -> Memorisation:
    """Finds the training image nearest to each generated one, and counts copies.

    The rule: a generated image is a copy if its features are as near to those of a training image as the nearest 5 %
    (`quantile`) of real images are that the model has not seen. So a model that copies nothing has a share of about
    5 %; a larger share means copies. Without held-out images, each training image is compared with all others. Crops of
    one slide resemble each other, so held-out images should be of other patients, and training images of as many.
    Duplicates say nothing about how near distinct images are: they are left out, up to rounding of their features, and
    counted.

    Args:
        train: Features of the training images, (N, D).
        fake: Features of the generated images, (M, D).
        held_out: Features of real images that the model was not trained on.
        quantile: Share of the real images that counts as copies.
        device: Device to compute on; None for the CPU.

    Raises:
        FeatureError: Features that are not finite or of different dimensions, or too few distinct real images for the
            quantile.

    Source: The test is that of Meehan, Chaudhuri & Dasgupta 2020, 'A non-parametric test to detect data-copying in
    generative models', section 3, in one cell; the rule for single images is ours.
    """
    if not is_finite(quantile) or not 0 < quantile < 1:
        raise FeatureError(f"a quantile of {quantile}: it lies between 0 and 1")
    quantile = float(quantile)
    real = train if held_out is None else held_out
    against = "training" if held_out is None else "held-out"
    trained, checked = checked_pair(train, real)
    check_real_images(f"{len(checked)} {against} images", len(checked), quantile)
    nearest_rows, distances = nearest(fake, trained, device=device)
    if held_out is None:
        real_distances = _distinct_distances(trained, device)
    else:
        _, to_training = nearest(checked, trained, device=device)
        real_distances = to_training[to_training > _rounding(trained)]
    duplicates = len(checked) - len(real_distances)
    subject = f"{duplicates:,} of {len(checked):,} {against} images are duplicates of training images; the others"
    check_real_images(subject, len(real_distances), quantile)
    # One of the distances and not a value between two, so that this share of the real images is at it or below.
    threshold = float(np.quantile(real_distances, quantile, method="lower"))
    p_value = float(mannwhitneyu(distances, real_distances, alternative="less").pvalue)
    return Memorisation(nearest_rows, distances, real_distances, against, quantile, threshold, p_value, duplicates)


def check_real_images(subject: str, count: int, quantile: float) -> None:
    """Checks that there are enough real images for a quantile of their distances.

    Args:
        subject: The images, for the error.
        count: Number of distinct images.
        quantile: See `memorisation`.

    Raises:
        FeatureError: There are fewer than 1 / quantile, or than 2.
    """
    needed = max(round(1 / quantile), 2)
    if count < needed:
        raise FeatureError(
            f"{subject} are too few: a threshold at {100 * quantile:.3g} % of them takes {needed} or more; add "
            "some, or give a larger quantile"
        )


def _distinct_distances(features: NDArray[np.float64], device: Device) -> NDArray[np.float64]:
    """Distance of each image to the nearest other one, without duplicates, (M,)."""
    rounding = _rounding(features)
    while len(features) > 1:
        index, distances = nearest(features, features, leave_self_out=True, device=device)
        # the last image of those that have a twin always has an earlier one, so every round leaves one out
        repeats = (distances <= rounding) & (index < np.arange(len(features)))
        if not repeats.any():
            return distances
        features = features[~repeats]
    return np.full(1, np.inf)


def _rounding(features: NDArray[np.float64]) -> float:
    """Distance that an image may have to itself, if its features were computed in another batch."""
    spread = float(np.sqrt(features.var(axis=0).sum()))
    length = float(np.sqrt((features**2).sum(axis=1).mean()))
    return max(1e-4 * spread, 1e-6 * length)
