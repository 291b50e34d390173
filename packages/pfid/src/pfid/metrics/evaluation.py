"""Metrics of two sets of whole images, from one pass over the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pfid.device import Device
from pfid.errors import FeatureError, check_enough
from pfid.features.collecting import Features, extract_features, feature_batches
from pfid.features.extractors import Extractor
from pfid.features.statistics import FeatureStatistics, StatisticsAccumulator
from pfid.images.folders import folder_images
from pfid.images.sources import Images, note_compression
from pfid.metric_value import MetricValue
from pfid.metrics.frechet import FrechetMetric, frechet_distance
from pfid.metrics.kernel import KernelMetric
from pfid.metrics.metric import Metric
from pfid.metrics.neighbours import NeighbourMetric

ImageSide: TypeAlias = str | Path | Images | Features
"""A folder of images, or images or features in memory."""
AnySide: TypeAlias = ImageSide | FeatureStatistics
"""As `ImageSide`, or statistics in memory or in a file (`.npz`)."""
SAME_IMAGES = "both sides are the same images"


def default_metrics(*, allow_few: bool = False) -> tuple[Metric, ...]:
    """Returns the metrics that `evaluate` computes by default, in this order.

    Args:
        allow_few: Allows an FID of as many images as there are features, or fewer.
    """
    return FrechetMetric(allow_few=allow_few), KernelMetric(), NeighbourMetric()


def evaluate(
    *,
    real: ImageSide,
    fake: ImageSide,
    extractor: Extractor,
    metrics: Sequence[Metric] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    device: Device = None,
) -> tuple[MetricValue, ...]:
    """Returns FID, KID, precision, recall, density and coverage of two sets of images.

    Each image is read once, and its features serve all metrics. A metric that takes more images than a side has is left
    out, with a note.

    Args:
        real: The real images: a folder, or images or features in memory.
        fake: The generated images, likewise.
        extractor: The feature extractor; features in memory have to be its own.
        metrics: The metrics, with their settings; None for `default_metrics()`.
        batch_size: Most images that the extractor gets at a time.
        seed: Seed of the random subsets of KID.
        device: Device to compute metrics on; None for the CPU. (The extractor has its own.)

    Raises:
        ImageError: A folder without images, or with unreadable ones.
        TooFewError: A side has as many images as there are features, or fewer, and FID does not allow so few.
        FeatureError: Features of another extractor, not finite, or of one image.
    """
    same = _same(real, fake)
    sides: list[Features] = []
    for side, name in zip(_opened(real, fake), ("real", "generated"), strict=True):
        if isinstance(side, FeatureStatistics):
            raise FeatureError(f"the {name} side is statistics, which give an FID only; use pfid.fid")
        features = (
            extract_features(side, extractor, batch_size=batch_size).result() if isinstance(side, Images) else side
        )
        _check_origin(features, extractor, name)
        sides.append(features)
    left, right = (side.values for side in sides)
    images = min(len(left), len(right))
    check_enough("images on a side", images, extractor.dimensions, allow_few=True)
    same = same or (left.shape == right.shape and bool((left == right).all()))
    values: dict[str, float] = {}
    notes = _notes(sides[0].notes, sides[1].notes, same=same)
    rng = np.random.default_rng(seed)
    for metric in default_metrics() if metrics is None else metrics:
        if images < metric.least_images:
            needed = f"they take {metric.least_images} images a side, the smaller has {images}"
            notes.append(f"{metric.title} left out: {needed}")
        else:
            values |= metric.measure(real=left, fake=right, rng=rng, device=device)
    note = "; ".join(notes) or None
    return tuple(
        MetricValue(name, value, extractor.name, extractor.resize, len(left), len(right), note=note)
        for name, value in values.items()
    )


def fid(
    *,
    real: AnySide,
    fake: AnySide,
    extractor: Extractor,
    batch_size: int = 32,
    device: Device = None,
    allow_few: bool = False,
) -> MetricValue:
    """Returns the FID of two sets of whole images, either of which may be statistics.

    Images are read once, and no more than a batch of them is held, with no features where there are many images.

    Args:
        real: The real images: a folder, a file of statistics, or images, features or statistics in memory.
        fake: The generated images, likewise.
        extractor: The feature extractor; with Inception, the distance is the FID.
        batch_size: Most images that the extractor gets at a time.
        device: Device to compute the distance on; None for the CPU. (The extractor has its own.)
        allow_few: Allows as many images as there are features, or fewer. FID is larger the fewer images there are.

    Raises:
        ImageError: A folder without images, or with unreadable ones.
        TooFewError: A side has as many images as there are features, or fewer, unless these are allowed.
        FeatureError: Damaged statistics, or statistics of another extractor.
    """
    same = _same(real, fake)
    sides: list[Features | FeatureStatistics] = []
    notes = []
    for side, name in zip(_opened(real, fake), ("real", "generated"), strict=True):
        measured, its_notes = _measured(side, extractor, batch_size)
        _check_origin(measured, extractor, name)
        sides.append(measured)
        notes.append(its_notes)
    left, right = (side.values if isinstance(side, Features) else side for side in sides)
    value = frechet_distance(real=left, fake=right, device=device, allow_few=allow_few)
    note = "; ".join(_notes(*notes, same=same)) or None
    n_real, n_fake = (len(side.values) if isinstance(side, Features) else side.count for side in sides)
    return MetricValue("FID", value, extractor.name, extractor.resize, n_real, n_fake, note=note)


def _opened(*sides: AnySide) -> list[Images | Features | FeatureStatistics]:
    """Opens folders of images and files of statistics, and notes JPEG files on one side."""
    opened = [_from_disk(side) if isinstance(side, str | Path) else side for side in sides]
    real, fake = opened
    if isinstance(real, Images) and isinstance(fake, Images):
        opened = list(note_compression(real, fake))
    return opened


def _from_disk(side: str | Path) -> Images | FeatureStatistics:
    path = Path(side)
    return FeatureStatistics.load(path) if path.suffix.lower() == ".npz" else folder_images(path)


def _measured(
    side: Images | Features | FeatureStatistics, extractor: Extractor, batch_size: int
) -> tuple[Features | FeatureStatistics, tuple[str, ...]]:
    """Returns the features of a side with few images, or else its statistics, and the notes on it."""
    if isinstance(side, FeatureStatistics):
        return side, () if side.extractor else ("statistics that do not name their extractor",)
    # Features of so few images take no more room than their covariance would, and give the distance sooner.
    if isinstance(side, Images) and len(side) <= extractor.dimensions:
        side = extract_features(side, extractor, batch_size=batch_size).result()
    if isinstance(side, Features):
        return side, side.notes
    total = StatisticsAccumulator(extractor.dimensions)
    for part in feature_batches(side, extractor, batch_size=batch_size):
        total.add(part.values)
    return total.statistics(extractor=extractor.name, resize=extractor.resize), side.notes_after(total.count)


def _notes(real: Sequence[str], fake: Sequence[str], *, same: bool) -> list[str]:
    return [SAME_IMAGES] * same + [f"real: {line}" for line in real] + [f"generated: {line}" for line in fake]


def _check_origin(measured: Features | FeatureStatistics, extractor: Extractor, side: str) -> None:
    dimensions = measured.values.shape[1] if isinstance(measured, Features) else measured.dimensions
    if dimensions != extractor.dimensions:
        raise FeatureError(
            f"the {side} side has {dimensions:,} features, '{extractor.name}' gives {extractor.dimensions:,}; "
            "measure it again"
        )
    for its, wanted in ((measured.extractor, extractor.name), (measured.resize, extractor.resize)):
        if its is not None and its != wanted:
            raise FeatureError(f"the {side} side has features of '{its}', wanted '{wanted}'")


def _same(real: AnySide, fake: AnySide) -> bool:
    if isinstance(real, str | Path) and isinstance(fake, str | Path):
        return Path(real).resolve() == Path(fake).resolve()
    if isinstance(real, Images) and isinstance(fake, Images):
        return real is fake or real.places == fake.places
    return real is fake
