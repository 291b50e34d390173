"""The Frechet distance of 2,048 features against scipy's matrix square root: time and agreement, in one run.

    OMP_NUM_THREADS=1 uv run python tests/benchmarks/frechet.py [--rounds 3] [--device cuda]

The features have a spectrum that falls off and are cut off at 0, as Inception's. Of 10,000 images, both start from the
statistics. Of 500, ours starts from the features, and scipy's from the statistics. Each round times both in turn; the
table has the best of the rounds, and the values.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from pfid import FeatureStatistics, frechet_distance

DIMENSIONS = 2048


def features(seed: int, count: int) -> NDArray[np.float32]:
    """Mixed, correlated and cut off at 0."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(DIMENSIONS, DIMENSIONS)).astype(np.float32)
    mixing *= (np.arange(1, DIMENSIONS + 1)[:, None] ** -0.8).astype(np.float32)
    drawn = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.maximum(drawn @ mixing * 0.3 + 0.1 * seed, 0)


def by_root_of_the_product(real: FeatureStatistics, fake: FeatureStatistics) -> float:
    """As pytorch-fid and clean-fid do: a product whose root is not finite has 1e-6 added to the diagonals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = scipy.linalg.sqrtm(real.covariance @ fake.covariance)
        if not np.isfinite(root).all():
            offset = 1e-6 * np.eye(DIMENSIONS)
            root = scipy.linalg.sqrtm((real.covariance + offset) @ (fake.covariance + offset))
    gap = ((real.mean - fake.mean) ** 2).sum()
    return float(gap + np.trace(real.covariance + fake.covariance) - 2 * np.trace(root.real))


def timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def compare(count: int, rounds: int, device: str) -> None:
    sides = features(1, count), features(2, count)
    statistics = [FeatureStatistics.of(side) for side in sides]
    real, fake = sides if count <= DIMENSIONS else statistics
    ways = (
        lambda: by_root_of_the_product(*statistics),
        lambda: frechet_distance(real=real, fake=fake, device=device, allow_few=True),
    )
    turns = [[timed(way) for way in ways] for _ in range(rounds)]
    peer_s, own_s = (min(turn[i][0] for turn in turns) for i in range(2))
    peer, own = (value for _, value in turns[0])
    print(
        f"{count:8,} {peer_s:10.2f} {own_s:8.3f} {peer_s / own_s:7.1f} {peer:14.8f} {own:14.8f} {own / peer - 1:12.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, scipy {scipy.__version__}, {torch.get_num_threads()} thread(s)")
    titles = f"{'images':>8} {'sqrtm, s':>10} {'ours, s':>8} {'ratio':>7} {'sqrtm':>14} {'ours':>14}"
    print(f"{titles} {'difference':>12}")
    for count in (10_000, 500):
        compare(count, arguments.rounds, arguments.device)


if __name__ == "__main__":
    main()
