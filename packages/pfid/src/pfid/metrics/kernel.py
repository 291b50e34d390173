"""The kernel distance between two sets of features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfid.device import Device, on_device
from pfid.errors import FeatureError, check_whole
from pfid.features.checks import checked_pair


@dataclass(frozen=True)
class Kid:
    """A kernel distance.

    Attributes:
        value: Mean over the subsets; it may be a little below 0 where the sets are alike.
        deviation: Standard deviation over the subsets. It describes the variation of one subset, and is no interval of
            the value.
    """

    value: float
    deviation: float


def kid(
    *,
    real: NDArray[Any],
    fake: NDArray[Any],
    generator: np.random.Generator | np.random.RandomState,
    subsets: int = 100,
    subset_size: int = 1000,
    device: Device = None,
) -> Kid:
    """Returns the kernel distance between two sets of features: of Inception's, the KID.

    It is the squared maximum mean discrepancy under the kernel (x y / D + 1)^3, without bias, so unlike the Frechet
    distance it does not depend on how many images there are. As is usual, it is the mean over random subsets.

    Args:
        real: Features of the real images, (N, D).
        fake: Features of the generated ones, (M, D).
        generator: Source of the random subsets: of the real images, then of the generated ones.
        subsets: Number of subsets.
        subset_size: Images of each side in a subset, sampled without replacement.
        device: Device to compute on; None for the CPU.

    Raises:
        FeatureError: Features that are not finite, of different dimensions or of fewer images than a subset has.

    Source: Binkowski et al. 2018, 'Demystifying MMD GANs', section 3 and equation 4.
    """
    subsets = check_whole("subsets", subsets, 1, FeatureError)
    subset_size = check_whole("subset_size", subset_size, 2, FeatureError)
    left, right = checked_pair(real, fake)
    if subset_size > min(len(left), len(right)):
        raise FeatureError(
            f"subsets of {subset_size:,} images take as many on each side, there are {len(left):,} real and "
            f"{len(right):,} fake ones: choose smaller subsets"
        )
    values = []
    for _ in range(subsets):
        sample = [side[generator.choice(len(side), subset_size, replace=False)] for side in (left, right)]
        values.append(_discrepancy(*(on_device(side, device) for side in sample)))
    distances = torch.stack(values).cpu().numpy()  # once, so as not to wait for a GPU between subsets
    return Kid(float(np.mean(distances)), float(np.std(distances)))


@dataclass(frozen=True)
class KernelMetric:
    """The kernel distance as a metric of `pfid.evaluate`.

    Attributes:
        subsets: Number of random subsets.
        subset_size: Images of each side in a subset; all, where a side has fewer.
    """

    subsets: int = 100
    subset_size: int = 1000
    title = "KID"
    least_images = 2

    def measure(
        self, *, real: NDArray[Any], fake: NDArray[Any], rng: np.random.Generator, device: Device
    ) -> dict[str, float]:
        """See `Metric.measure`."""
        size = min(self.subset_size, len(real), len(fake))
        distance = kid(real=real, fake=fake, generator=rng, subsets=self.subsets, subset_size=size, device=device)
        return {f"KID ({self.subsets} subsets of {size:,})": distance.value}


def _discrepancy(real: Tensor, fake: Tensor) -> Tensor:
    """Returns the squared maximum mean discrepancy of two sets of one size, without bias, ()."""
    size = len(real)
    within = _off_diagonal_sum(_kernel(real, real)) + _off_diagonal_sum(_kernel(fake, fake))
    return within / (size * (size - 1)) - 2 * _kernel(real, fake).mean()


def _kernel(left: Tensor, right: Tensor) -> Tensor:
    return (left @ right.T / left.shape[1] + 1) ** 3


def _off_diagonal_sum(kernel: Tensor) -> Tensor:
    return kernel.sum() - kernel.trace()
