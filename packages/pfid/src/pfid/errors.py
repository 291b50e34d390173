"""The errors a user can meet; each message is one line that says what is wrong and what to do."""

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
"""What NumPy raises of .npy and .npz files that are damaged, or that lack an array."""


class PfidError(ValueError):
    """Images, features, plans or settings that no figure can be worked out from."""


class ImageError(PfidError):
    """Images that cannot be read, or that do not fit together."""


class PlanError(PfidError):
    """A crop plan that cannot be made, read or followed."""


class ExtractorError(PfidError):
    """A network of features that is not there, or is not the one that was asked for."""


class FeatureError(PfidError):
    """Features or statistics that are damaged, too few, or do not fit together."""


class FigureError(PfidError):
    """Figures that cannot be read, or that mean different things and so cannot be compared."""


def is_finite(number: Any) -> bool:
    """Whether something is a finite number of any kind, of Python or NumPy; pandas' missing values are none."""
    return isinstance(number, Real) and math.isfinite(number)


def check_whole(name: str, number: Any, least: int, error: type[PfidError]) -> int:
    """Returns a whole number of any kind as an int.

    Args:
        name: What it is, for the error.
        number: The number.
        least: The least that it may be.
        error: What is raised.

    Raises:
        PfidError: It is missing, not finite, not whole or too small.
    """
    if not is_finite(number) or number != int(number) or number < least:
        raise error(f"{name} is {number}, wanted a whole number of {least} or more")
    return int(number)
