"""The Frechet distance between Gaussians, by eigenvalues and never by the root of a matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pfid.device import Device
from pfid.errors import FeatureError
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
        device: Where to multiply matrices, such as 'cuda'; the CPU if not told, which decomposes them in any case.
        allow_few: Allows sides of so few images that their covariance has not full rank. The distance is larger the
            fewer images there are, so it may only be compared with that of as many.

    Raises:
        FeatureError: Features that are not finite, of fewer than 2 images, of D images or fewer unless these are
            allowed, or of different dimensions, extractors or resizing; or a covariance that is none.

    Source: Dowson & Landau 1982, 'The Frechet distance between multivariate normal distributions'; Heusel et al. 2017,
    'GANs trained by a two time-scale update rule converge to a local Nash equilibrium', equation 6.
    """
    _check_same_origin(real, fake)
    sides = _gaussian(real, "real", device), _gaussian(fake, "fake", device)
    check_dimensions(len(sides[0].mean), len(sides[1].mean))
    if not allow_few:
        for side, name in zip(sides, ("real", "fake"), strict=True):
            _check_enough(side, name)
    left, right = sides
    gap = (left.mean - right.mean).square().sum()
    return max(float(gap + left.variance + right.variance) - 2 * _trace_of_root(left, right), 0.0)


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
    # What was saved in float32 has negative eigenvalues by rounding, but none this large.
    if values[0] < -1e-4 * largest:
        raise FeatureError(f"statistics: no covariance, it has the eigenvalue {float(values[0]):.3g}")
    # Null eigenvalues come out as about this, and their roots would add up to something.
    kept = values > 10 * torch.finfo(values.dtype).eps * largest
    return (vectors[:, kept] * values[kept].sqrt()).T.to(covariance.device)


def _check_enough(side: _Gaussian, name: str) -> None:
    needed = len(side.mean) + 1
    if side.count is not None and side.count < needed:
        raise FeatureError(
            f"{side.count:,} {name} images: a Frechet distance of {len(side.mean):,} features takes {needed:,} or more"
            " on each side (allow_few allows fewer, but then the figure depends on how many they are)"
        )


def _check_same_origin(real: FeatureStatistics | NDArray[Any], fake: FeatureStatistics | NDArray[Any]) -> None:
    if not isinstance(real, FeatureStatistics) or not isinstance(fake, FeatureStatistics):
        return
    for known in ("extractor", "resize"):
        left, right = getattr(real, known), getattr(fake, known)
        if left is not None and right is not None and left != right:
            raise FeatureError(f"statistics of different {known}: {left} and {right}")
