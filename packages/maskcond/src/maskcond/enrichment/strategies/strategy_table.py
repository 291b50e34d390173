"""The table of strategies: means over test images and seeds, with intervals over both, and differences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from maskcond.enrichment.errors import EnrichmentError
from maskcond.metrics import SegmentationScores
from run_folder import whole_file

FIGURES = ("dice", "aji", "aji_plus", "pq")
ALL = "all"
REFERENCE = "1"
"""The strategy that the others are compared with."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class ImageScores:
    """The scores of a test image."""

    name: str
    split: str
    scores: SegmentationScores


@dataclass(frozen=True)
class TableFigure:
    """The value of a metric for a strategy on a test set.

    Args:
        value: Mean over images and seeds.
        over_images: Bootstrap interval over images, for other images of the same kind.
        over_seeds: Student's t interval over the seeds' means, for other seeds; None for a single seed.
        difference: Mean difference to strategy 1, image by image and seed by seed; None for strategy 1.
        difference_over_images: Interval of the difference by bootstrap of the images.
        difference_over_seeds: Interval of the difference by Student's t of the seeds.
    """

    value: float
    over_images: Interval
    over_seeds: Interval | None
    difference: float | None = None
    difference_over_images: Interval | None = None
    difference_over_seeds: Interval | None = None


@dataclass(frozen=True)
class TableRow:
    """The values of a strategy on a test set; `figures` are Dice, AJI, AJI+ and PQ by their names in `FIGURES`."""

    strategy: str
    split: str
    images: int
    seeds: int
    figures: Mapping[str, TableFigure]


def make_table(
    scores: Mapping[str, Sequence[Sequence[ImageScores]]], *, resamples: int, confidence: float, seed: int = 0
) -> list[TableRow]:
    """Makes the table.

    Args:
        scores: Scores of each strategy and seed, for the same images in the same order.
        resamples: Number of bootstrap samples.
        confidence: Confidence of all intervals.
        seed: Seed of the bootstrap; each row resamples the same images.

    Returns:
        A row for each strategy and split, and for all images together if there are several splits.

    Raises:
        EnrichmentError: The scores are not of the same images.
    """
    images = [
        [(image.name, image.split) for image in of_seed] for of_strategy in scores.values() for of_seed in of_strategy
    ]
    if not images or any(of_seed != images[0] for of_seed in images):
        raise EnrichmentError("wanted scores of the same test images for each strategy and seed")
    names = list(dict.fromkeys(split for _, split in images[0]))
    splits = np.array([split for _, split in images[0]])
    rows = []
    for split in [*names, *([ALL] if len(names) > 1 else [])]:
        chosen = np.flatnonzero((splits == split) | (split == ALL))
        draws = np.random.default_rng(seed).integers(len(chosen), size=(resamples, len(chosen)))
        for strategy, of_strategy in scores.items():
            figures = {}
            for name in FIGURES:
                values = _values(of_strategy, name)[:, chosen]
                reference = None
                if strategy != REFERENCE and REFERENCE in scores:
                    reference = _values(scores[REFERENCE], name)[:, chosen]
                figures[name] = _figure(values, reference, draws, confidence)
            rows.append(TableRow(strategy, split, len(chosen), len(of_strategy), figures))
    return rows


def write_scores(path: Path, scores: Sequence[ImageScores]) -> None:
    """Writes the scores of a model."""
    _write(path, [asdict(image) for image in scores])


def read_scores(path: Path) -> list[ImageScores]:
    """Reads a file that `write_scores` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return [ImageScores(image["name"], image["split"], SegmentationScores(**image["scores"])) for image in values]


def write_table(path: Path, rows: Sequence[TableRow], *, confidence: float) -> None:
    """Writes the table as JSON."""
    _write(path, {"confidence": confidence, "rows": [asdict(row) for row in rows]})


def read_table(path: Path) -> tuple[list[TableRow], float]:
    """Reads a file that `write_table` wrote: the rows, and the confidence of their intervals."""
    values = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        TableRow(**{**row, "figures": {name: TableFigure(**_pairs(figure)) for name, figure in row["figures"].items()}})
        for row in values["rows"]
    ]
    return rows, float(values["confidence"])


def _values(of_strategy: Sequence[Sequence[ImageScores]], name: str) -> NDArray[np.float64]:
    """The values of a metric, (seeds, images)."""
    return np.array([[getattr(image.scores, name) for image in of_seed] for of_seed in of_strategy])


def _figure(
    values: NDArray[np.float64], reference: NDArray[np.float64] | None, draws: NDArray[np.int64], confidence: float
) -> TableFigure:
    own = float(values.mean()), _over_images(values, draws, confidence), _over_seeds(values, confidence)
    if reference is None:
        return TableFigure(*own)
    difference = values - reference
    return TableFigure(
        *own,
        float(difference.mean()),
        _over_images(difference, draws, confidence),
        _over_seeds(difference, confidence),
    )


def _over_images(values: NDArray[np.float64], draws: NDArray[np.int64], confidence: float) -> Interval:
    means = values.mean(axis=0)[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _over_seeds(values: NDArray[np.float64], confidence: float) -> Interval | None:
    means = values.mean(axis=1)
    if len(means) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5)
    return float(means.mean()) - half, float(means.mean()) + half


def _pairs(figure: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in figure.items()}


def _write(path: Path, values: object) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
