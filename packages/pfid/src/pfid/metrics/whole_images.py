"""Figures of folders, arrays and files of statistics."""

from pathlib import Path
from typing import TypeAlias

import numpy as np

from pfid.device import Device
from pfid.errors import FeatureError, check_whole
from pfid.features.checks import check_dimensions
from pfid.features.collecting import Features, extract_features, feature_batches, notes_on
from pfid.features.extractors import Extractor
from pfid.features.statistics import FeatureStatistics, StatisticsAccumulator
from pfid.figures import Figure
from pfid.images.folders import folder_images
from pfid.images.sources import Images, note_compression
from pfid.metrics.frechet import frechet_distance
from pfid.metrics.kernel import kid
from pfid.metrics.neighbours import prdc

Side: TypeAlias = str | Path | Images | Features | FeatureStatistics
"""A folder of images or a file of statistics (`.npz`), or what is in memory already."""
NEIGHBOUR_METRICS = ("precision", "recall", "density", "coverage")
_NEIGHBOUR_WORDS = "precision, recall, density and coverage"
SAME_IMAGES = "both sides are the same images"


def fid(
    *,
    real: Side,
    fake: Side,
    extractor: Extractor,
    batch: int = 32,
    device: Device = None,
    allow_few: bool = False,
) -> Figure:
    """Returns the FID of two sets of whole images.

    Images are read once, and no more than a batch of them is held.

    Args:
        real: The real images: a folder, a file of statistics, or images, features or statistics in memory.
        fake: The generated ones, likewise.
        extractor: What gives features; of Inception's, the distance is the FID.
        batch: Most images to give it at a time.
        device: Where to calculate the distance; the CPU if not told. (The extractor has its own.)
        allow_few: Allows as many images as there are features, or fewer. FID is larger the fewer images there are.

    Raises:
        ImageError: A folder without images, or with unreadable ones.
        FeatureError: Too few images, damaged statistics, or statistics of another extractor.
    """
    note = [SAME_IMAGES] if _same(real, fake) else []
    real, fake = _opened(real), _opened(fake)
    if isinstance(real, Images) and isinstance(fake, Images):
        real, fake = note_compression(real, fake)
    sides, counts = [], []
    for side, name in ((real, "real"), (fake, "generated")):
        measured, notes = _measured(side, extractor, batch)
        _check_origin(measured, extractor, name)
        note += [f"{name}: {line}" for line in notes]
        sides.append(measured.values if isinstance(measured, Features) else measured)
        counts.append(len(measured.values) if isinstance(measured, Features) else measured.count)
    value = frechet_distance(real=sides[0], fake=sides[1], device=device, allow_few=allow_few)
    n_real, n_fake = counts
    return Figure("FID", value, extractor.name, extractor.resize, n_real, n_fake, note="; ".join(note) or None)


def feature_figures(
    *,
    real: Features,
    fake: Features,
    generator: np.random.Generator,
    subsets: int = 100,
    subset_size: int = 1000,
    k: int = 5,
    device: Device = None,
    allow_few: bool = False,
) -> tuple[Figure, ...]:
    """Returns FID, KID, precision, recall, density and coverage of the features of two sets of images.

    Precision, recall, density and coverage take k + 1 images a side; of fewer, the others are returned, and their notes
    say so.

    Args:
        real: Features of the real images.
        fake: Features of the generated ones, of the same extractor.
        generator: Draws the subsets of KID.
        subsets: Number of subsets of KID.
        subset_size: Images of each side in one; all, where there are fewer. The figure's name tells.
        k: Which neighbour the balls of precision, recall, density and coverage reach to.
        device: Where to calculate; the CPU if not told.
        allow_few: Allows an FID of as many images as there are features, or fewer.

    Raises:
        FeatureError: Features of different extractors, not finite, or too few.
    """
    if (real.extractor, real.resize) != (fake.extractor, fake.resize):
        raise FeatureError(f"features of different extractors: {real.extractor} and {fake.extractor}")
    check_dimensions(real.values.shape[1], fake.values.shape[1])
    left, right = real.values, fake.values
    if (images := min(len(left), len(right))) < 2:
        raise FeatureError(f"{images} image on a side: FID and KID take 2 or more")
    size = min(subset_size, images)
    distance = frechet_distance(real=left, fake=right, device=device, allow_few=allow_few)
    kernel = kid(real=left, fake=right, generator=generator, subsets=subsets, subset_size=size, device=device)
    k = check_whole("k", k, 1, FeatureError)
    left_out = metrics_left_out(images, k)
    note = [SAME_IMAGES] if left.shape == right.shape and (left == right).all() else []
    note += [f"{name}: {line}" for name, side in (("real", real), ("generated", fake)) for line in side.notes]
    values = {"FID": distance, f"KID ({subsets} subsets of {size:,})": kernel.value}
    if left_out is None:
        near = prdc(real=left, fake=right, k=k, device=device)
        values |= {f"{name} (k = {k})": getattr(near, name) for name in NEIGHBOUR_METRICS}
    else:
        note.append(left_out)
    return tuple(
        Figure(name, value, real.extractor, real.resize, len(left), len(right), note="; ".join(note) or None)
        for name, value in values.items()
    )


def metrics_left_out(images: int, k: int = 5) -> str | None:
    """Names the metrics that `feature_figures` leaves out because a side has too few images, in one line.

    Args:
        images: How many images the smaller side has.
        k: Which neighbour the balls reach to.
    """
    if images > k:
        return None
    return f"{_NEIGHBOUR_WORDS} (k = {k}) left out: they take {k + 1} images a side, the smaller has {images}"


def _opened(side: Side) -> Images | Features | FeatureStatistics:
    """Opens a folder of images or a file of statistics; what is in memory stays as it is."""
    if not isinstance(side, str | Path):
        return side
    path = Path(side)
    return FeatureStatistics.load(path) if path.suffix.lower() == ".npz" else folder_images(path)


def _measured(
    side: Images | Features | FeatureStatistics, extractor: Extractor, batch: int
) -> tuple[Features | FeatureStatistics, tuple[str, ...]]:
    """Returns the features of a side with few images, or else its statistics, and the notes on it."""
    if isinstance(side, FeatureStatistics):
        return side, () if side.extractor else ("statistics that do not tell their extractor",)
    # Features of so few images take no more room than their covariance would, and give the distance sooner.
    if isinstance(side, Images) and len(side) <= extractor.dimensions:
        side = extract_features(side, extractor, batch=batch)
    if isinstance(side, Features):
        return side, side.notes
    total = StatisticsAccumulator(extractor.dimensions)
    for part in feature_batches(side, extractor, batch=batch):
        total.add(part.values)
    return total.statistics(extractor=extractor.name, resize=extractor.resize), notes_on(side, total.count)


def _check_origin(measured: Features | FeatureStatistics, extractor: Extractor, side: str) -> None:
    dimensions = measured.values.shape[1] if isinstance(measured, Features) else measured.dimensions
    if dimensions != extractor.dimensions:
        raise FeatureError(
            f"the {side} side has {dimensions:,} features, '{extractor.name}' gives {extractor.dimensions:,}"
        )
    for its, wanted in ((measured.extractor, extractor.name), (measured.resize, extractor.resize)):
        if its is not None and its != wanted:
            raise FeatureError(f"the {side} side has features of '{its}', wanted '{wanted}'")


def _same(real: Side, fake: Side) -> bool:
    if isinstance(real, str | Path) and isinstance(fake, str | Path):
        return Path(real).resolve() == Path(fake).resolve()
    if isinstance(real, Images) and isinstance(fake, Images):
        return real is fake or real.places == fake.places
    return real is fake
