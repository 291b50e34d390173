"""Patch-FID of all crops with an interval, by magnification, and extrapolated to infinitely many crops."""

import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pfid.crops.features import CropFeatures, measure_crops
from pfid.crops.plan import CropPlan
from pfid.device import Device
from pfid.errors import FeatureError, check_enough, check_whole
from pfid.features.extractors import Extractor
from pfid.features.statistics import FeatureStatistics, StatisticsAccumulator
from pfid.images.sources import Images
from pfid.metric_value import MetricValue, ScaleMetric
from pfid.metrics.frechet import frechet_distance
from pfid.progress import WorkProgress, long_work

Rows: TypeAlias = NDArray[np.int64]
_CHUNK = 4096
_GROUPS = 4
_PARTS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class PatchFid:
    """A patch-FID with its extrapolation and its values by magnification.

    Attributes:
        metric: The value, with its interval. It is larger the fewer crops there are: compare equal numbers.
        extrapolated: The value in the limit of infinitely many crops; None where there are too few to extrapolate.
        by_scale: The value of each quarter of the crops by magnification, finest first; fewer parts where a quarter
            would be too few.
    """

    metric: MetricValue
    extrapolated: MetricValue | None
    by_scale: tuple[ScaleMetric, ...]


def patch_fid(
    *,
    real: Images,
    fake: Images,
    plan: CropPlan,
    extractor: Extractor,
    batch_size: int = 64,
    workers: int = 2,
    resamples: int = 100,
    device: Device = None,
    allow_few: bool = False,
) -> PatchFid:
    """Returns the patch-FID of two sets of images, whole slides among them.

    To see the progress, or to keep the features, use `measure_crops` and `patch_metrics`, which this puts together. The
    features lie in the system's temporary folder: 820 MB for 50,000 crops of 2,048 features a side.

    Args:
        real: The real images of the plan.
        fake: The generated ones.
        plan: The crops; `plan_crops` makes a plan.
        extractor: The feature extractor.
        batch_size: Crops that the extractor gets at a time.
        workers: Processes that read; 0 reads in this one.
        resamples: Number of bootstrap samples for the interval; 0 for none.
        device: Device to compute distances on; None for the CPU. (The extractor has its own.)
        allow_few: Allows as many crops as there are features, or fewer.

    Raises:
        PlanError: The images are not those of the plan.
        ImageError: A crop cannot be read.
        TooFewError: There are as many crops as features, or fewer, unless these are allowed.
        FeatureError: Features that are not finite.
        PfidError: A worker process ended unexpectedly.
    """
    check_enough("crops", len(plan), extractor.dimensions, allow_few=allow_few)
    with tempfile.TemporaryDirectory() as folder:
        features = measure_crops(
            real=real,
            fake=fake,
            plan=plan,
            extractor=extractor,
            folder=folder,
            batch_size=batch_size,
            workers=workers,
        ).result()
        return patch_metrics(features, resamples=resamples, device=device, allow_few=allow_few).result()


@long_work
def patch_metrics(
    features: CropFeatures, *, resamples: int = 100, device: Device = None, allow_few: bool = False
) -> Generator[WorkProgress, None, PatchFid]:
    """Computes the patch-FID of features.

    - Interval: a 95 % bootstrap. A side of several images is resampled by image, with all crops of each; a side of one
      image is resampled by crop, and its interval does not hold for other images (a note of the value names that side).
      Repeated crops raise every distance by about as much, so the samples are centred on the value.
    - Extrapolation: the mean distance of N, N/2, ... N/5 crops, all of them used each time, on a line in 1/N, at 0.
      It takes more than five times as many crops as there are features.

    Args:
        features: Features of both sides' crops.
        resamples: Number of bootstrap samples; 0 for no interval.
        device: Device to compute distances on; None for the CPU.
        allow_few: Allows as many crops as there are features, or fewer, also by magnification.

    Returns:
        `Work` whose result is the `PatchFid`.

    Raises:
        TooFewError: There are as many crops as features, or fewer, unless these are allowed.
        FeatureError: Features that are not finite.

    Source: Chong & Forsyth 2020, 'Effectively unbiased FID and Inception Score and where to find them', section 4, for
        the extrapolation. There, subsets of 15 sizes are sampled each time and the real side is fixed.
    """
    resamples = check_whole("resamples", resamples, 0, FeatureError)
    kept, dimensions = features.kept, features.real.shape[1]
    check_enough("crops", len(kept), dimensions, allow_few=allow_few)
    resampled, permuted = (np.random.default_rng((features.plan.seed, number)) for number in range(2))

    def distance(real_rows: Rows, fake_rows: Rows) -> float:
        sides = measured(features.real, real_rows), measured(features.fake, fake_rows)
        return frechet_distance(real=sides[0], fake=sides[1], device=device, allow_few=True)

    value = distance(kept, kept)
    resampling = _Resampling(features.plan, kept)
    samples = []
    for number in range(resamples):
        samples.append(distance(*resampling.sample(resampled)))
        yield WorkProgress("resamples", number + 1, resamples)
    metric = MetricValue(
        "patch-FID",
        value,
        features.extractor,
        features.resize,
        len(kept),
        len(kept),
        features.plan.description,
        features.plan.sha256,
        _interval(value, samples) if samples else None,
        note="; ".join([*([f"interval {resampling}"] if samples else []), *_left_out(features), *features.notes])
        or None,
    )
    plain = replace(metric, interval=None, note=None)
    limit = extrapolated(distance, permuted.permutation(kept), dimensions)
    return PatchFid(
        metric,
        None if limit is None else replace(plain, name="patch-FID, extrapolated in 1/N", value=limit),
        _by_scale(
            features.plan.reduction, kept, distance, plain, _GROUPS if allow_few else len(kept) // (dimensions + 1)
        ),
    )


def measured(values: NDArray[np.float32], rows: Rows) -> FeatureStatistics | NDArray[np.float32]:
    """Mean and covariance of some rows of features, which may be on disk; the rows themselves if they are few.

    Args:
        values: Features, (N, D).
        rows: Indices of the rows; a row may occur several times.
    """
    dimensions = values.shape[1]
    rows = np.sort(rows)
    if len(rows) <= dimensions:
        return values[rows]
    total = StatisticsAccumulator(dimensions)
    for start in range(0, len(rows), _CHUNK):
        total.add(values[rows[start : start + _CHUNK]])
    return total.statistics()


def extrapolated(distance: Callable[[Rows, Rows], float], rows: Rows, dimensions: int) -> float | None:
    """The distance on a line in 1 / crops, at 0; None if there are too few crops.

    Args:
        distance: Distance of crops, given as rows of both sides.
        rows: All crops, in random order.
        dimensions: Number of features.
    """
    # If there are enough crops for a covariance of full rank, the distance of normal features is linear in 1 / crops.
    if len(rows) // _PARTS[-1] <= dimensions:
        return None
    inverse, values = [], []
    for parts in _PARTS:
        size = len(rows) // parts
        subsets = [rows[start : start + size] for start in range(0, parts * size, size)]
        inverse.append(1 / size)
        values.append(float(np.mean([distance(subset, subset) for subset in subsets])))
    _, limit = np.polyfit(inverse, values, 1)
    return float(limit)


class _Resampling:
    """Samples crops for the bootstrap."""

    def __init__(self, plan: CropPlan, kept: Rows) -> None:
        self._kept = kept
        self._images = [_by_image(planned.image[kept], kept) for planned in (plan.real, plan.fake)]

    def sample(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Rows of both sides. If each side is one image, pairs are sampled, so that scales still match."""
        crops = self._kept[rng.integers(len(self._kept), size=len(self._kept))]
        rows = [
            np.concatenate([images[chosen] for chosen in rng.integers(len(images), size=len(images))])
            if len(images) > 1
            else crops
            for images in self._images
        ]
        return rows[0], rows[1]

    def __str__(self) -> str:
        sides = [
            f"{len(images)} {name} images" if len(images) > 1 else f"crops of one {name} image"
            for images, name in zip(self._images, ("real", "generated"), strict=True)
        ]
        return f"over {' and '.join(sides)}"


def _by_image(image: NDArray[np.int32], rows: Rows) -> list[Rows]:
    """The rows of each image with crops."""
    order = np.argsort(image, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(image[order])) + 1)


def _interval(value: float, samples: list[float]) -> tuple[float, float]:
    low, high = np.quantile(samples, (0.025, 0.975)) - np.mean(samples)
    return max(0.0, value + float(low)), value + float(high)


def _by_scale(
    reduction: NDArray[np.float64],
    kept: Rows,
    distance: Callable[[Rows, Rows], float],
    plain: MetricValue,
    groups: int,
) -> tuple[ScaleMetric, ...]:
    ordered = kept[np.argsort(reduction[kept], kind="stable")]
    alike = reduction[ordered[0]] == reduction[ordered[-1]]
    parts = 1 if alike else max(1, min(_GROUPS, groups, len(kept) // 2))
    by_scale = []
    for number, rows in enumerate(np.array_split(ordered, parts), start=1):
        metric = replace(
            plain,
            name=f"patch-FID, magnification {number} of {parts}",
            value=distance(rows, rows),
            n_real=len(rows),
            n_fake=len(rows),
        )
        by_scale.append(ScaleMetric((float(reduction[rows[0]]), float(reduction[rows[-1]])), metric))
    return tuple(by_scale)


def _left_out(features: CropFeatures) -> list[str]:
    if not features.plan.white:
        return []
    real, fake = features.white.sum(axis=1)
    count = len(features.plan) - len(features.kept)
    return [
        f"{count:,} of {len(features.plan):,} pairs left out as white ({real:,} real, {fake:,} generated crops are)"
    ]
