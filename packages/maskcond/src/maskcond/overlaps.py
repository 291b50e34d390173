"""Overlaps of the objects of two instance maps, from one histogram of pairs of numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import MaskError
from maskcond.masks.arrays import Numbers, check_numbers


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Areas of the objects of two instance maps, and pairs of objects that share pixels; areas in pixels.

    Args:
        truth_areas: Area of each true object, (N,).
        predicted_areas: Area of each predicted object, (M,).
        truth: Index of the true object of each pair, (P,).
        predicted: Index of the predicted object of each pair, (P,). Pairs are sorted by (truth, predicted).
        intersections: Shared area of each pair, (P,).
    """

    truth_areas: NDArray[np.int64]
    predicted_areas: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    intersections: NDArray[np.int64]

    @property
    def unions(self) -> NDArray[np.int64]:
        """Area of the union of each pair, (P,)."""
        return self.truth_areas[self.truth] + self.predicted_areas[self.predicted] - self.intersections

    @property
    def ious(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, (P,)."""
        return self.intersections / self.unions


def find_overlaps(truth: Numbers, predicted: Numbers) -> Overlaps:
    """Counts the pixels of objects and of pairs of objects; a mask counts as one object.

    Args:
        truth: Instance map (H, W), 0 background.
        predicted: The same for the prediction.

    Raises:
        MaskError: One is not an instance map, or they differ in size.
    """
    check_pair(truth, predicted)
    # Pairs need an object, and nuclei cover only a quarter of most images.
    of_interest = (truth != 0) | (predicted != 0)
    truth_numbers, first = np.unique(truth[of_interest], return_inverse=True)
    predicted_numbers, second = np.unique(predicted[of_interest], return_inverse=True)
    # The numbers may or may not include the background's; counts are the pixels that each pair has in common.
    columns = max(predicted_numbers.size, 1)
    pairs, counts = np.unique(first.astype(np.int64) * columns + second, return_counts=True)
    rows, cols = np.divmod(pairs, columns)
    truth_background, predicted_background = (
        int(numbers.size > 0 and numbers[0] == 0) for numbers in (truth_numbers, predicted_numbers)
    )
    both = (rows >= truth_background) & (cols >= predicted_background)
    return Overlaps(
        np.bincount(first, minlength=truth_numbers.size)[truth_background:],
        np.bincount(second, minlength=predicted_numbers.size)[predicted_background:],
        rows[both] - truth_background,
        cols[both] - predicted_background,
        counts[both],
    )


def check_pair(truth: Numbers, predicted: Numbers) -> None:
    """Checks that two masks hold whole numbers and have the same size.

    Raises:
        MaskError: They do not.
    """
    check_numbers(truth, "true mask")
    check_numbers(predicted, "predicted mask")
    if truth.shape != predicted.shape:
        sizes = (f"{mask.shape[1]} x {mask.shape[0]} px" for mask in (truth, predicted))
        raise MaskError("truth and prediction differ in size: {} and {}".format(*sizes))
