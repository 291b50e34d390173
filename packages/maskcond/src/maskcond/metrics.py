"""Metrics of predicted nuclei against true ones: Dice, AJI, AJI+, PQ.

All take instance maps, (H, W) of whole numbers with 0 for the background. If only one of the two maps has nuclei, they
are 0; if neither has, 1.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from maskcond.errors import MaskError
from maskcond.masks.arrays import Numbers
from maskcond.overlaps import Overlaps, check_pair, find_overlaps


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality, pq = sq rq.

    Args:
        pq: Panoptic quality.
        sq: Segmentation quality: mean IoU of the matched pairs, 0 if there are none.
        rq: Recognition quality: F1 score of the detection of objects.
    """

    pq: float
    sq: float
    rq: float


@dataclass(frozen=True)
class SegmentationScores:
    """All metrics of one image, or their means over images; each in [0, 1]."""

    dice: float
    aji: float
    aji_plus: float
    pq: float
    sq: float
    rq: float


def dice(*, truth: Numbers, predicted: Numbers) -> float:
    """Dice's coefficient of the foregrounds, 2 |T and P| / (|T| + |P|); it does not distinguish nuclei.

    Args:
        truth: Mask or instance map, (H, W).
        predicted: The same, predicted.

    Raises:
        MaskError: One is not of whole numbers from 0 up, or they differ in size.

    Source: Dice 1945, 'Measures of the amount of ecologic association between species'.
    """
    check_pair(truth, predicted)
    areas = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return float(2 * np.count_nonzero((truth != 0) & (predicted != 0)) / areas) if areas else 1.0


def aji(*, truth: Numbers, predicted: Numbers) -> float:
    """Aggregated Jaccard index.

    Every true nucleus is matched with the prediction of the highest IoU, even if another nucleus is matched with it
    too; ties go to the lowest number. The index is the sum of the intersections divided by the sum of the unions and
    of the areas of all unmatched nuclei and predictions.

    Args:
        truth: Instance map, (H, W).
        predicted: The same, predicted.

    Raises:
        MaskError: One is not an instance map, or they differ in size.

    Source: Kumar et al. 2017, 'A dataset and a technique for generalized nuclear segmentation for computational
    pathology', algorithm 1.
    """
    return _aji(find_overlaps(truth, predicted))


def aji_plus(*, truth: Numbers, predicted: Numbers) -> float:
    """Aggregated Jaccard index with one-to-one matching: the pairs are those whose IoUs have the largest sum.

    Args:
        truth: Instance map, (H, W).
        predicted: The same, predicted.

    Raises:
        MaskError: One is not an instance map, or they differ in size.

    Source: Graham et al. 2019, 'HoVer-Net', and its published code, which introduces the name.
    """
    return _aji_plus(find_overlaps(truth, predicted))


def pq(*, truth: Numbers, predicted: Numbers) -> PanopticQuality:
    """Panoptic quality of one class: a nucleus counts as detected if a prediction has an IoU above 0.5 with it.

    Args:
        truth: Instance map, (H, W).
        predicted: The same, predicted.

    Raises:
        MaskError: One is not an instance map, or they differ in size.

    Source: Kirillov et al. 2019, 'Panoptic segmentation', equations 1 and 2.
    """
    return _pq(find_overlaps(truth, predicted))


def score(*, truth: Numbers, predicted: Numbers) -> SegmentationScores:
    """All metrics of one image, from one pass over the pixels.

    Args:
        truth: Instance map, (H, W).
        predicted: The same, predicted.

    Raises:
        MaskError: One is not an instance map, or they differ in size.
    """
    overlaps = find_overlaps(truth, predicted)
    quality = _pq(overlaps)
    return SegmentationScores(
        dice=dice(truth=truth, predicted=predicted),
        aji=_aji(overlaps),
        aji_plus=_aji_plus(overlaps),
        pq=quality.pq,
        sq=quality.sq,
        rq=quality.rq,
    )


def mean_scores(scores: Iterable[SegmentationScores]) -> SegmentationScores:
    """The mean over images of each metric, every image with the same weight.

    Raises:
        MaskError: There is no image, or a score is not finite.
    """
    table = np.array([astuple(image) for image in scores], np.float64)
    if not len(table):
        raise MaskError("wanted the scores of at least one image, got none")
    if not np.isfinite(table).all():
        raise MaskError(f"the scores of {int((~np.isfinite(table)).any(axis=1).sum())} images are not finite numbers")
    return SegmentationScores(*table.mean(axis=0).tolist())


def _aji(overlaps: Overlaps) -> float:
    # Sorted by true nucleus, then by falling IoU; ties stay in the order of the predictions' numbers.
    order = np.lexsort((-overlaps.ious, overlaps.truth))
    _, firsts = np.unique(overlaps.truth[order], return_index=True)
    return _jaccard(overlaps, order[firsts])


def _aji_plus(overlaps: Overlaps) -> float:
    nuclei, predictions = overlaps.truth_areas.size, overlaps.predicted_areas.size
    if not overlaps.truth.size:
        return _jaccard(overlaps, np.empty(0, np.int64))
    # The largest sum of IoUs is the smallest sum of costs 2 - IoU (a sparse matrix cannot hold zeros), if every nucleus
    # may also take a dummy partner at cost 2. The matrix holds overlapping pairs only, so a whole slide's stays small.
    own = np.arange(nuclei)
    rows = np.concatenate([overlaps.truth, own])
    cols = np.concatenate([overlaps.predicted, predictions + own])
    costs = np.concatenate([2 - overlaps.ious, np.full(nuclei, 2.0)])
    matrix = csr_array((costs, (rows, cols)), shape=(nuclei, predictions + nuclei))
    rows, cols = min_weight_full_bipartite_matching(matrix)
    keys = overlaps.truth * (predictions + nuclei) + overlaps.predicted
    return _jaccard(overlaps, np.flatnonzero(np.isin(keys, rows.astype(np.int64) * (predictions + nuclei) + cols)))


def _jaccard(overlaps: Overlaps, chosen: NDArray[np.int64]) -> float:
    """Sum of the chosen pairs' intersections, divided by that of their unions and of all areas outside chosen pairs."""
    alone = [
        np.delete(areas, indices[chosen]).sum()
        for areas, indices in (
            (overlaps.truth_areas, overlaps.truth),
            (overlaps.predicted_areas, overlaps.predicted),
        )
    ]
    union = overlaps.unions[chosen].sum() + sum(alone)
    return float(overlaps.intersections[chosen].sum() / union) if union else 1.0


def _pq(overlaps: Overlaps) -> PanopticQuality:
    nuclei, predictions = overlaps.truth_areas.size, overlaps.predicted_areas.size
    if not nuclei + predictions:
        return PanopticQuality(1.0, 1.0, 1.0)
    # With an IoU above a half, no nucleus and no prediction can be in two pairs.
    matched = overlaps.ious[overlaps.ious > 0.5]
    sq = float(matched.mean()) if matched.size else 0.0
    rq = 2 * matched.size / (nuclei + predictions)
    return PanopticQuality(sq * rq, sq, rq)
