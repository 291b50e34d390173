"""The errors that a user can mend; each message is one line: the cause, and what to do."""

import math
import tokenize
import zipfile
import zlib
from numbers import Real
from typing import Any

DAMAGED_ARRAYS = (
    *(AttributeError, EOFError, KeyError, NotImplementedError, SyntaxError, TypeError, ValueError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""The errors that NumPy raises for .npy and .npz files that are damaged or lack an array."""


class PfidError(ValueError):
    """Images, features, plans or settings from which no metric can be computed."""


class ImageError(PfidError):
    """Images that cannot be read, or that do not fit together."""


class PlanError(PfidError):
    """A crop plan that cannot be made, read or followed."""


class ExtractorError(PfidError):
    """A feature extractor that is missing, or that differs from the one wanted."""


class FeatureError(PfidError):
    """Features or statistics that are damaged, too few, or do not fit together."""


class TooFewError(FeatureError):
    """Fewer images or crops than a covariance of full rank takes; `allow_few` allows as few."""


class MetricError(PfidError):
    """Metric values that cannot be read, or that mean different things and cannot be compared."""


def is_finite(number: Any) -> bool:
    """Whether a value is a finite number of any kind, of Python or NumPy; pandas' missing values are not."""
    return isinstance(number, Real) and math.isfinite(number)


def check_whole(name: str, number: Any, least: int, error: type[PfidError]) -> int:
    """Returns a whole number of any kind as an int.

    Args:
        name: Name of the setting, for the error.
        number: The number.
        least: The smallest number allowed.
        error: The error to raise.

    Raises:
        PfidError: It is missing, not finite, not whole or too small.
    """
    if not is_finite(number) or number != int(number) or number < least:
        raise error(f"{name} is {number}, wanted a whole number of {least} or more")
    return int(number)


def check_enough(subject: str, count: int, dimensions: int, *, allow_few: bool = False) -> None:
    """Checks that a side has enough images or crops for a Frechet distance.

    Args:
        subject: The things counted, such as 'fake images'.
        count: How many there are.
        dimensions: Number of features, D.
        allow_few: Allows 2 to D of them, whose covariance does not have full rank.

    Raises:
        TooFewError: There are fewer than D + 1, or than 2 if few are allowed.
    """
    if count < 2:
        raise FeatureError(f"{count} {subject}: a distance takes 2 or more on each side; add some")
    if count <= dimensions and not allow_few:
        raise TooFewError(
            f"{count:,} {subject}: a Frechet distance of {dimensions:,} features takes {dimensions + 1:,} or more on "
            "each side; add some, or allow few"
        )
