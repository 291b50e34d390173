"""Nearest neighbours among features, and the metrics that count them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pfid.device import Device
from pfid.errors import FeatureError, check_whole
from pfid.features.checks import checked_pair


@dataclass(frozen=True)
class Prdc:
    """Mutual coverage of generated and real images. 1 is best; density may be more.

    Attributes:
        precision: Share of generated images that lie in the ball of a real one.
        recall: Share of real images that lie in the ball of a generated one.
        density: Number of real images' balls that a generated image lies in, divided by k: the mean.
        coverage: Share of real images whose ball holds a generated one.
        k: The ball of an image reaches to its k-th nearest neighbour in its own set.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


def prdc(*, real: NDArray[Any], fake: NDArray[Any], k: int = 5, chunk: int = 256, device: Device = None) -> Prdc:
    """Returns precision, recall, density and coverage.

    Distances are computed `chunk` rows at a time, so memory grows with the number of images and not with its square.
    Points on the edge of a ball count as inside.

    Args:
        real: Features of the real images, (N, D).
        fake: Features of the generated ones, (M, D).
        k: The ball of an image reaches to its k-th nearest neighbour.
        chunk: Rows of distances to hold at a time. It does not change the values.
        device: Device to compute on; None for the CPU.

    Raises:
        FeatureError: Features that are not finite, of different dimensions or of k images or fewer.

    Source: Kynkäänniemi et al. 2019, 'Improved precision and recall metric for assessing generative models', equations
    1 and 2; Naeem et al. 2020, 'Reliable fidelity and diversity metrics for generative models', equations 4 and 5.
    """
    k, chunk = check_whole("k", k, 1, FeatureError), check_whole("chunk", chunk, 1, FeatureError)
    real_side, fake_side = _sides(*checked_pair(real, fake, least=k + 1), device)
    # More than the rounding of a distance, so that a point on the edge of a ball, such as its neighbour, stays inside.
    slack = 1e-12 * torch.stack([side.square().sum(1).max() for side in (real_side, fake_side)]).max()
    real_radii, fake_radii = (_ball_radii(side, k, chunk) + slack for side in (real_side, fake_side))
    in_real_ball = torch.zeros(len(fake_side), dtype=torch.int64, device=device)
    in_fake_ball = torch.zeros(len(real_side), dtype=torch.bool, device=device)
    holds_fake = torch.zeros_like(in_fake_ball)
    for rows, squared in _squared_distances(real_side, fake_side, chunk):
        inside = squared <= real_radii[rows, None]
        in_real_ball += inside.sum(0)
        holds_fake[rows] = inside.any(1)
        in_fake_ball[rows] = (squared <= fake_radii).any(1)
    precision, recall, balls, coverage = _means(in_real_ball > 0, in_fake_ball, in_real_ball, holds_fake)
    return Prdc(precision=precision, recall=recall, density=balls / k, coverage=coverage, k=k)


@dataclass(frozen=True)
class NeighbourMetric:
    """Precision, recall, density and coverage as a metric of `pfid.evaluate`.

    Attributes:
        k: The ball of an image reaches to its k-th nearest neighbour.
    """

    k: int = 5

    @property
    def title(self) -> str:
        """Names of its values."""
        return f"precision, recall, density and coverage (k = {self.k})"

    @property
    def least_images(self) -> int:
        """Images that it takes on each side."""
        return check_whole("k", self.k, 1, FeatureError) + 1

    def measure(
        self, *, real: NDArray[Any], fake: NDArray[Any], rng: np.random.Generator, device: Device
    ) -> dict[str, float]:
        """See `Metric.measure`."""
        values = asdict(prdc(real=real, fake=fake, k=self.k, device=device))
        return {f"{name} (k = {self.k})": value for name, value in values.items() if name != "k"}


def nearest(
    points: NDArray[Any], among: NDArray[Any], *, leave_self_out: bool = False, chunk: int = 256, device: Device = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Finds the nearest neighbour of each point.

    Args:
        points: Features, (N, D).
        among: Features to search for neighbours, (M, D).
        leave_self_out: `points` and `among` are the same images, and an image is not its own neighbour.
        chunk: Rows of distances to hold at a time.
        device: Device to compute on; None for the CPU.

    Returns:
        Index of the neighbour in `among`, (N,), and its Euclidean distance, (N,), exactly 0 for equal features.

    Raises:
        FeatureError: Features that are not finite, of different dimensions, or no images to search.
    """
    left, right = checked_pair(points, among, least=2 if leave_self_out else 1)
    nearest_rows = []
    for rows, squared in _squared_distances(*_sides(left, right, device), chunk):
        if leave_self_out:
            numbers = torch.arange(len(squared), device=device)
            squared[numbers, numbers + rows.start] = torch.inf
        nearest_rows.append(squared.argmin(1))
    index: NDArray[np.int64] = torch.cat(nearest_rows).cpu().numpy()  # once, so as not to wait for a GPU
    distances = [
        np.linalg.norm(left[start : start + chunk] - right[index[start : start + chunk]], axis=1)
        for start in range(0, len(left), chunk)
    ]
    return index, np.concatenate(distances)


def _sides(left: NDArray[np.float64], right: NDArray[np.float64], device: Device) -> tuple[Tensor, Tensor]:
    """Moves both sides so that their mean is 0: distances stay, and less is lost in their products."""
    centre = right.mean(0)
    return torch.from_numpy(left - centre).to(device), torch.from_numpy(right - centre).to(device)


def _squared_distances(left: Tensor, right: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Yields rows of `left` and their squared distances to all of `right`."""
    right_norms = right.square().sum(1)
    for start in range(0, len(left), chunk):
        rows = slice(start, min(start + chunk, len(left)))
        norms = left[rows].square().sum(1, keepdim=True)
        yield rows, torch.addmm(right_norms, left[rows], right.T, alpha=-2).add_(norms)


def _ball_radii(points: Tensor, k: int, chunk: int) -> Tensor:
    """Returns the squared distance of each point to its k-th nearest other."""
    # A point is its own nearest, at 0.
    return torch.cat([squared.kthvalue(k + 1).values for _, squared in _squared_distances(points, points, chunk)])


def _means(*values: Tensor) -> list[float]:
    means: list[float] = torch.stack([metric.double().mean() for metric in values]).tolist()
    return means
