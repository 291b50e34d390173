"""The Frechet distance between Gaussians, by eigenvalues and never by the root of a matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfid.device import Device
from pfid.errors import FeatureError, check_enough
from pfid.features.checks import check_dimensions, checked_features
from pfid.features.statistics import FeatureStatistics


def frechet_distance(
    *,
    real: FeatureStatistics | NDArray[Any],
    fake: FeatureStatistics | NDArray[Any],
    device: Device = None,
    allow_few: bool = False,
) -> float:
    """Returns the squared Frechet distance between the Gaussians of two sets of features: of Inception's, the FID.

    It is |m_r - m_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)). With S_r = R^T R, the trace of the root is the sum of the
    roots of the eigenvalues of the symmetric R S_f R^T, so covariances without full rank need nothing added to them.
    Features of fewer images than dimensions are a root R of their covariance already; where both sides have such, the
    trace is the nuclear norm of R_r R_f^T, and no covariance is made. It is all in float64; where rounding leaves less
    than 0, it is 0.

    Args:
        real: Statistics of the real images, or their features, (N, D).
        fake: The same, of the generated ones.
        device: Device that multiplies matrices, such as 'cuda'; None for the CPU, which always decomposes them.
        allow_few: Allows so few images that their covariance does not have full rank. The distance is larger the fewer
            images there are, so compare it only with that of equally many.

    Raises:
        TooFewError: A side has D images or fewer, unless these are allowed.
        FeatureError: Features that are not finite, of fewer than 2 images, or of different dimensions, extractors or
            resizing; or a matrix that is no covariance.

    Source: Dowson & Landau 1982, 'The Frechet distance between multivariate normal distributions'; Heusel et al. 2017,
    'GANs trained by a two time-scale update rule converge to a local Nash equilibrium', equation 6.
    """
    _check_same_origin(real, fake)
    sides = _gaussian(real, "real", device), _gaussian(fake, "fake", device)
    check_dimensions(len(sides[0].mean), len(sides[1].mean))
    for side, name in zip(sides, ("real", "fake"), strict=True):
        if side.count is not None:
            check_enough(f"{name} images", side.count, len(side.mean), allow_few=allow_few)
    left, right = sides
    gap = (left.mean - right.mean).square().sum()
    return max(float(gap + left.variance + right.variance) - 2 * _trace_of_root(left, right), 0.0)


@dataclass(frozen=True)
class FrechetMetric:
    """The Frechet distance as a metric of `pfid.evaluate`.

    Attributes:
        allow_few: See `frechet_distance`.
    """

    allow_few: bool = False
    title = "FID"
    least_images = 2

    def measure(
        self, *, real: NDArray[Any], fake: NDArray[Any], rng: np.random.Generator, device: Device
    ) -> dict[str, float]:
        """See `Metric.measure`."""
        return {"FID": frechet_distance(real=real, fake=fake, device=device, allow_few=self.allow_few)}


@dataclass(frozen=True)
class _Gaussian:
    """One side: mean (D,), and the covariance S (D, D) or, of few images, the root R (N, D) with R^T R = S."""

    mean: Tensor
    matrix: Tensor
    few: bool
    count: int | None

    @property
    def variance(self) -> Tensor:
        return self.matrix.square().sum() if self.few else self.matrix.trace()


def _gaussian(side: FeatureStatistics | NDArray[Any], name: str, device: Device) -> _Gaussian:
    if not isinstance(side, FeatureStatistics):
        features = checked_features(side, f"{name} features", least=2)
        count, dimensions = features.shape
        if count <= dimensions:
            values = torch.tensor(features, device=device)
            mean = values.mean(0)
            return _Gaussian(mean, (values - mean) / (count - 1) ** 0.5, True, count)
        side = FeatureStatistics.of(features)
    mean, covariance = (torch.tensor(value, device=device) for value in (side.mean, side.covariance))
    return _Gaussian(mean, covariance, False, side.count)


def _trace_of_root(left: _Gaussian, right: _Gaussian) -> float:
    """Returns tr((S_l S_r)^(1/2)), which is the same in both orders.

    Products are made on the device, decompositions on the CPU: a GPU has few units for float64, and solves for
    eigenvalues step by step.
    """
    if right.few:
        left, right = right, left
    root = left.matrix if left.few else _root(left.matrix)
    if right.few:
        singular: Tensor = torch.linalg.svdvals((root @ right.matrix.T).cpu())
        return float(singular.sum())
    product = root @ right.matrix @ root.T
    eigenvalues: Tensor = torch.linalg.eigvalsh(((product + product.T) / 2).cpu())
    return float(eigenvalues.clamp(min=0).sqrt().sum())


def _root(covariance: Tensor) -> Tensor:
    """Returns R, (rank, D), with R^T R the covariance."""
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh(covariance.cpu())
    largest = values[-1].clamp(min=0)
    # Rounding of statistics saved in float32 makes negative eigenvalues, but none this large.
    if values[0] < -1e-4 * largest:
        raise FeatureError(f"statistics: not a covariance, as it has the eigenvalue {float(values[0]):.3g}")
    # Rounding turns null eigenvalues into about this, and their roots would add up.
    kept = values > 10 * torch.finfo(values.dtype).eps * largest
    return (vectors[:, kept] * values[kept].sqrt()).T.to(covariance.device)


def _check_same_origin(real: FeatureStatistics | NDArray[Any], fake: FeatureStatistics | NDArray[Any]) -> None:
    if not isinstance(real, FeatureStatistics) or not isinstance(fake, FeatureStatistics):
        return
    for known in ("extractor", "resize"):
        left, right = getattr(real, known), getattr(fake, known)
        if left is not None and right is not None and left != right:
            raise FeatureError(f"statistics of different {known}: {left} and {right}")
