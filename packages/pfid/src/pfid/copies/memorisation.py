"""Whether generated images are copies of training images."""

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
    """How near generated images are to training images, beside how near other real images are.

    Attributes:
        nearest: Which training image is nearest to each generated one, (N,).
        distances: Its distance, (N,).
        real_distances: Distance of each real image to the training image nearest to it, without duplicates, (M,).
        against: Which real images those are: 'held-out', or 'training' where each training image was held against all
            others.
        quantile: Share of the real images that counts as copies.
        threshold: Distance up to which an image counts as a copy: that quantile of the real distances.
        p_value: Of the one-sided Mann-Whitney test that generated images are as far from training images as real ones
            are, against their being nearer. Small means that training images are copied, or nearly so.
        duplicates: How many real images were left out because they are there before: training images that repeat
            another one, or held-out images that are training images.
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
        """Numbers of the generated images that count as copies."""
        return np.flatnonzero(self.distances <= self.threshold)

    @property
    def share(self) -> float:
        """Share of the generated images that count as copies; a model that copies nothing has about `quantile`."""
        return len(self.copies) / len(self.distances)

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
    """Finds the training image nearest to each generated one, and tells how many are copies.

    The rule: a generated image is a copy if its features are as near to those of a training image as the nearest 5 %
    (`quantile`) of real images are that the model has not seen. So a model that copies nothing has a share of about
    5 %, and what is above that is copied. Without real images held out, each training image is held against all others.
    Crops of one slide resemble each other, so held-out images should be of other patients, and training images of as
    many. A real image that is there twice tells nothing about how near others are, so duplicates, up to rounding of
    their features, are left out and counted.

    Args:
        train: Features of the training images, (N, D).
        fake: Features of the generated images, (M, D).
        held_out: Features of real images that the model was not trained on.
        quantile: Share of the real images that is to count as copies.
        device: Where to calculate; if None, on the CPU.

    Raises:
        FeatureError: Features that are not finite or of different dimensions, or too few real images for the quantile,
            without duplicates.

    Source: The test is that of Meehan, Chaudhuri & Dasgupta 2020, 'A non-parametric test to detect data-copying in
    generative models', section 3, in one cell; the rule for single images is ours.
    """
    if not is_finite(quantile) or not 0 < quantile < 1:
        raise FeatureError(f"a quantile of {quantile}: it lies between 0 and 1")
    quantile = float(quantile)
    real = train if held_out is None else held_out
    against = "training" if held_out is None else "held-out"
    trained, checked = checked_pair(train, real)
    needed = least_real_images(quantile)
    _check_count(len(checked), needed, f"{len(checked)} {against} images", quantile)
    found, distances = nearest(fake, trained, device=device)
    if held_out is None:
        real_distances = _distinct_distances(trained, device)
    else:
        _, to_training = nearest(checked, trained, device=device)
        real_distances = to_training[to_training > _rounding(trained)]
    duplicates = len(checked) - len(real_distances)
    cause = f"{duplicates:,} of {len(checked):,} {against} images are duplicates of training images; the others"
    _check_count(len(real_distances), needed, cause, quantile)
    # One of the distances and not a value between two, so that this share of the real images has it or less.
    threshold = float(np.quantile(real_distances, quantile, method="lower"))
    p_value = float(mannwhitneyu(distances, real_distances, alternative="less").pvalue)
    return Memorisation(found, distances, real_distances, against, quantile, threshold, p_value, duplicates)


def least_real_images(quantile: float) -> int:
    """The least number of real images, without duplicates, of which `memorisation` finds a quantile."""
    return max(round(1 / quantile), 2)


def _check_count(images: int, needed: int, subject: str, quantile: float) -> None:
    if images < needed:
        raise FeatureError(
            f"{subject} do not tell how near the nearest {quantile:.3g} of them are: give {needed} or more, or a "
            "larger quantile"
        )


def _distinct_distances(features: NDArray[np.float64], device: Device) -> NDArray[np.float64]:
    """Distance of each image to the nearest other one, where of images with the same features one is kept, (M,)."""
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
    """Distance that the same image may have to itself, where its features were calculated in another batch."""
    spread = float(np.sqrt(features.var(axis=0).sum()))
    length = float(np.sqrt((features**2).sum(axis=1).mean()))
    return max(1e-4 * spread, 1e-6 * length)
