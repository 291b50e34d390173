"""The learning rate of all segmentation models."""

import math

from maskcond.segmentation.errors import SegmentationError

POWER = 0.9


def learning_rate(share: float, *, first: float, last: float) -> float:
    """The learning rate after a share of the training; it falls from the first to the last rate.

    Source: the polynomial schedule of Isensee et al. 2021, 'nnU-Net', which falls to 0.
    """
    return last + (first - last) * math.pow(1 - share, POWER)


def check_learning_rates(first: float, last: float) -> None:
    """Checks that two learning rates can be used.

    Raises:
        SegmentationError: Not 0 <= last <= first, or not first > 0.
    """
    if not (0 <= last <= first < math.inf and first > 0):
        raise SegmentationError(f"wanted learning rates that fall, from above 0 to at least 0, got {first} to {last}")
