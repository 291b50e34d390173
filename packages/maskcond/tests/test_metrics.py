from itertools import pairwise

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment

from maskcond import (
    Instances,
    MaskError,
    SegmentationScores,
    aji,
    aji_plus,
    border_labels,
    connected_components,
    dice,
    instances_from_borders,
    mean_scores,
    pq,
    score,
)

METRICS = {
    "dice": dice,
    "aji": aji,
    "aji_plus": aji_plus,
    "pq": lambda *, truth, predicted: pq(truth=truth, predicted=predicted).pq,
}
EMPTY = np.zeros((8, 8), np.int32)
ONE = EMPTY.copy()
ONE[2:5, 2:6] = 3


# The references follow the papers word by word, nucleus by nucleus, with sets of pixels.


def pixel_sets(instances):
    return {n: frozenset(zip(*np.nonzero(instances == n), strict=True)) for n in np.unique(instances).tolist() if n}


def literal_dice(truth, predicted):
    true_pixels = frozenset().union(*pixel_sets(truth).values())
    predicted_pixels = frozenset().union(*pixel_sets(predicted).values())
    if not true_pixels and not predicted_pixels:
        return 1.0
    return 2 * len(true_pixels & predicted_pixels) / (len(true_pixels) + len(predicted_pixels))


def literal_aji(truth, predicted):
    true_nuclei, predictions = pixel_sets(truth), pixel_sets(predicted)
    if not true_nuclei and not predictions:
        return 1.0
    intersection, union, used = 0, 0, set()
    for nucleus in true_nuclei.values():
        best, best_iou = None, 0.0
        for number, prediction in predictions.items():
            iou = len(nucleus & prediction) / len(nucleus | prediction)
            if iou > best_iou:
                best, best_iou = number, iou
        if best is None:
            union += len(nucleus)
        else:
            intersection += len(nucleus & predictions[best])
            union += len(nucleus | predictions[best])
            used.add(best)
    union += sum(len(prediction) for number, prediction in predictions.items() if number not in used)
    return intersection / union


def literal_aji_plus(truth, predicted):
    true_nuclei, predictions = list(pixel_sets(truth).values()), list(pixel_sets(predicted).values())
    if not true_nuclei and not predictions:
        return 1.0
    ious = np.array([[len(t & p) / len(t | p) for p in predictions] for t in true_nuclei])
    ious = ious.reshape(len(true_nuclei), len(predictions))
    pairs = [(t, p) for t, p in zip(*linear_sum_assignment(-ious), strict=True) if ious[t, p] > 0]
    intersection = sum(len(true_nuclei[t] & predictions[p]) for t, p in pairs)
    union = sum(len(true_nuclei[t] | predictions[p]) for t, p in pairs)
    union += sum(len(nucleus) for t, nucleus in enumerate(true_nuclei) if t not in {pair[0] for pair in pairs})
    union += sum(len(nucleus) for p, nucleus in enumerate(predictions) if p not in {pair[1] for pair in pairs})
    return intersection / union


def literal_pq(truth, predicted):
    true_nuclei, predictions = list(pixel_sets(truth).values()), list(pixel_sets(predicted).values())
    if not true_nuclei and not predictions:
        return 1.0
    ious = [len(t & p) / len(t | p) for t in true_nuclei for p in predictions]
    found = [iou for iou in ious if iou > 0.5]
    missed, invented = len(true_nuclei) - len(found), len(predictions) - len(found)
    return sum(found) / (len(found) + missed / 2 + invented / 2)


REFERENCES = {"dice": literal_dice, "aji": literal_aji, "aji_plus": literal_aji_plus, "pq": literal_pq}


small_maps = arrays.arrays(np.uint8, (7, 9), elements=st.integers(0, 5))


def blocky(values):
    """Objects of some pixels' size, as nuclei have, out of a few numbers."""
    return np.kron(values, np.ones((3, 2), np.int32))


@settings(max_examples=60, deadline=None)
@given(small_maps, small_maps, st.integers(0, 3))
def test_random_maps_score_as_in_the_literal_references(coarse, other, shift):
    truth = blocky(coarse)
    predicted = np.roll(blocky(np.where(other > 3, other, coarse)), shift, axis=1)
    for name in ("dice", "aji", "pq"):
        assert METRICS[name](truth=truth, predicted=predicted) == pytest.approx(REFERENCES[name](truth, predicted))


@pytest.mark.parametrize("seed", range(20))
def test_one_to_one_matching_is_as_in_the_literal_reference(seed):
    # Areas of random pixels: two matchings with the same sum of IoUs, between which nothing decides, do not happen.
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, 7, (2, 23, 31))
    assert aji_plus(truth=truth, predicted=predicted) == pytest.approx(literal_aji_plus(truth, predicted))


def test_touching_and_shifted_nuclei_score_as_in_the_literal_references(nuclei: Instances) -> None:
    small = nuclei[:90, :110]
    for predicted in (
        np.roll(small, 2, axis=0),
        connected_components(small),
        instances_from_borders(border_labels(small)),
    ):
        for name, metric in METRICS.items():
            assert metric(truth=small, predicted=predicted) == pytest.approx(REFERENCES[name](small, predicted)), name


@pytest.mark.real_data
def test_real_nuclei_score_as_in_the_literal_references(kumar_folder) -> None:
    truth = np.asarray(PIL.Image.open(kumar_folder / "instances" / "TCGA-HE-7130-01Z-00-DX1.png"))[:120, :120]
    predicted = np.roll(connected_components(truth), 2, axis=1)
    for name, metric in METRICS.items():
        assert metric(truth=truth, predicted=predicted) == pytest.approx(REFERENCES[name](truth, predicted)), name


@pytest.mark.parametrize("name", METRICS)
def test_nothing_to_find_and_nothing_found_scores_1(name: str) -> None:
    assert METRICS[name](truth=EMPTY, predicted=EMPTY) == 1
    assert METRICS[name](truth=EMPTY[:0], predicted=EMPTY[:0]) == 1


@pytest.mark.parametrize("name", METRICS)
def test_nothing_found_scores_0_and_so_does_what_is_invented(name: str) -> None:
    assert METRICS[name](truth=ONE, predicted=EMPTY) == 0
    assert METRICS[name](truth=EMPTY, predicted=ONE) == 0
    assert METRICS[name](truth=ONE, predicted=np.roll(ONE, 4, axis=1) * (np.roll(ONE, 4, axis=1) != ONE)) == 0


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_prediction_scores_1_whatever_its_numbers(name: str, nuclei: Instances) -> None:
    numbers = np.random.default_rng(0).permutation(60_000)[: nuclei.max() + 1].astype(np.uint16) + 1
    renamed = np.where(nuclei > 0, numbers[nuclei], 0).astype(np.uint16)
    assert METRICS[name](truth=nuclei, predicted=renamed) == 1
    full = np.ones((5, 5), np.uint8)
    assert METRICS[name](truth=full, predicted=full.astype(np.int64) * 2**40) == 1


def test_nuclei_that_run_together_lose_aji_though_dice_stays() -> None:
    truth = np.repeat(np.arange(1, 5, dtype=np.int32), 10)[None].repeat(10, axis=0)
    predicted = np.ones_like(truth)
    assert dice(truth=truth, predicted=predicted) == 1
    # All four take the one prediction of 400 px: 4 x 100 of 4 x 400. Matched one to one: 100 of 400 + 3 x 100.
    assert aji(truth=truth, predicted=predicted) == pytest.approx(1 / 4)
    assert aji_plus(truth=truth, predicted=predicted) == pytest.approx(1 / 7)
    assert pq(truth=truth, predicted=predicted).pq == 0


def test_an_iou_of_just_one_half_is_not_found() -> None:
    predicted = np.where(np.arange(8) < 4, ONE, 0)
    found = pq(truth=ONE, predicted=predicted)
    assert (found.pq, found.sq, found.rq) == (0, 0, 0)


def test_scores_fall_as_the_prediction_moves_away(nuclei: Instances) -> None:
    scores = [score(truth=nuclei, predicted=np.roll(nuclei, shift, axis=0)) for shift in (0, 1, 3, 6)]
    for nearer, further in pairwise(scores):
        assert nearer.dice > further.dice
        assert nearer.aji > further.aji
        assert nearer.pq > further.pq


def test_all_scores_together_are_the_single_ones(nuclei: Instances) -> None:
    predicted = np.roll(nuclei, 3, axis=1)
    together = score(truth=nuclei, predicted=predicted)
    quality = pq(truth=nuclei, predicted=predicted)
    assert together == SegmentationScores(
        *(METRICS[name](truth=nuclei, predicted=predicted) for name in METRICS), quality.sq, quality.rq
    )
    assert all(type(value) is float for value in vars(together).values())


def test_the_mean_gives_every_image_the_same_weight() -> None:
    scores = [score(truth=ONE, predicted=ONE), score(truth=ONE, predicted=EMPTY), score(truth=EMPTY, predicted=EMPTY)]
    assert mean_scores(scores).aji == pytest.approx(2 / 3)
    with pytest.raises(MaskError, match="at least one image"):
        mean_scores([])


def test_large_numbers_and_many_objects_need_no_table_of_all_pairs() -> None:
    # 22,500 objects on either side: a table of all pairs would take 4 GB.
    truth = np.arange(1, 22_501, dtype=np.int32).reshape(150, 150)
    assert aji_plus(truth=truth, predicted=truth[::-1, ::-1] + 2**30) == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (ONE, ONE[:5], "differ in size: 8 x 8 px and 8 x 5 px"),
        (ONE, ONE.astype(float), "predicted mask of whole numbers, got float64"),
        (-ONE, ONE, "true mask of numbers from 0 up, got -3"),
        (ONE[None], ONE, r"true mask of shape \(H, W\), got \(1, 8, 8\)"),
    ],
)
def test_what_is_no_pair_of_instance_maps_is_refused(truth, predicted, message) -> None:
    for metric in (*METRICS.values(), score):
        with pytest.raises(MaskError, match=message):
            metric(truth=truth, predicted=predicted)
