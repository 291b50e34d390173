"""The error a user can meet, and the checks of single numbers; a message is one line: the cause, and what to do."""

import math
from numbers import Real
from typing import Any


class StudyError(ValueError):
    """Classifications or settings from which no result can be worked out."""


def check_finite(name: str, value: Any) -> float:
    """Returns a number of any kind, of Python or NumPy, as a float.

    Args:
        name: What it is, for the error.
        value: The number.

    Raises:
        StudyError: It is missing, not a number, NaN or infinite.
    """
    if not _is_number(value) or not math.isfinite(value):
        raise StudyError(f"{name} is {_shown(value)}, wanted a number: fill in what is missing")
    return float(value)


def check_whole(name: str, value: Any, least: int = 0) -> int:
    """Returns a whole number of any kind, also one in a float, as an int.

    Args:
        name: What it is, for the error.
        value: The number.
        least: The least that it may be.

    Raises:
        StudyError: It is missing, not a number, not finite, not whole or too small.
    """
    if not _is_number(value) or not math.isfinite(value) or value != int(value) or value < least:
        raise StudyError(f"{name} is {_shown(value)}, wanted a whole number of {least} or more")
    return int(value)


def check_share(name: str, value: Any, most: float = 1.0) -> float:
    """Returns a share as a float.

    Args:
        name: What it is, for the error.
        value: The share.
        most: The largest that it may be, not included.

    Raises:
        StudyError: It does not lie between 0 and `most`, neither of them included.
    """
    if not _is_number(value) or not 0 < value < most:
        raise StudyError(f"a {name} of {_shown(value)}: it lies between 0 and {most:g}")
    return float(value)


def _is_number(value: object) -> bool:
    """Whether a value is a real number: NumPy's are registered so; None, texts and pandas' missing values are not."""
    return isinstance(value, Real)


def _shown(value: object) -> str:
    """A value in one line."""
    text = " ".join(f"{value}".split()) or repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
