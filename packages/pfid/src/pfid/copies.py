"""Whether generated images are copies of training images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from pfid.errors import FeatureError
from pfid.features import checked_pair
from pfid.neighbours import Device, nearest


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
        real_distances: Distance of each real image to the training image nearest to it, (M,).
        against: Which real images those are: 'held-out', or 'training' where each training image was held against all
            others.
        quantile: Share of the real images that counts as copies.
        threshold: Distance up to which an image counts as a copy: that quantile of the real distances.
        p_value: Of the one-sided Mann-Whitney test that generated images are as far from training images as real ones
            are, against their being nearer. Small means that training images are copied, or nearly so.
    """

    nearest: NDArray[np.int64]
    distances: NDArray[np.float64]
    real_distances: NDArray[np.float64]
    against: str
    quantile: float
    threshold: float
    p_value: float

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
    many.

    Args:
        train: Features of the training images, (N, D).
        fake: Features of the generated images, (M, D).
        held_out: Features of real images that the model was not trained on.
        quantile: Share of the real images that is to count as copies.
        device: Where to calculate; the CPU if not told.

    Raises:
        FeatureError: Features that are not finite or of different dimensions, or too few real images for the quantile.

    Source: The test is that of Meehan, Chaudhuri & Dasgupta 2020, 'A non-parametric test to detect data-copying in
    generative models', section 3, in one cell; the rule for single images is ours.
    """
    if not 0 < quantile < 1:
        raise FeatureError(f"a quantile of {quantile}: it lies between 0 and 1")
    real = train if held_out is None else held_out
    against = "training" if held_out is None else "held-out"
    checked_pair(train, real)
    needed = round(1 / quantile)
    if len(real) < needed:
        raise FeatureError(
            f"{len(real)} {against} images do not tell how near the nearest {quantile:.3g} of them are:"
            f" give {needed} or more, or a larger quantile"
        )
    found, distances = nearest(fake, train, device=device)
    _, real_distances = nearest(real, train, leave_self_out=held_out is None, device=device)
    # One of the distances and not a value between two, so that this share of the real images has it or less.
    threshold = np.quantile(real_distances, quantile, method="lower")
    p_value = mannwhitneyu(distances, real_distances, alternative="less").pvalue
    return Memorisation(found, distances, real_distances, against, quantile, float(threshold), float(p_value))
