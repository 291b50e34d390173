"""Checks of numbers that callers pass: finite, within their range, whole if need be; exact decimal fractions."""

import math
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from wsi_tiling.errors import SlideError


def is_finite(value: Any) -> bool:
    """Whether a value is a number, of Python's or numpy's kinds, and finite."""
    # Asking an abstract class takes time, and every read asks for ten numbers.
    return (type(value) in (float, int) or isinstance(value, Real)) and math.isfinite(value)


def check_number(
    wanted: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Checks that a value is a finite number in a range.

    Args:
        wanted: Words for the message, such as 'a positive field'.
        value: The value, of Python's or numpy's kinds.
        above: It has to exceed this.
        least: The smallest that it may be.
        most: The largest that it may be.
        below: It has to be less than this.

    Raises:
        SlideError: It is something else: not a number or infinite, for instance.
    """
    if not (is_finite(value) and above < float(value) < below and least <= float(value) <= most):
        raise SlideError(f"wanted {wanted}, got {value}")


def check_whole(wanted: str, value: Any, *, least: int, most: float = math.inf) -> None:
    """Checks that a value is a whole number, of an integer kind, in a range.

    Raises:
        SlideError: It is something else.
    """
    if not is_whole(value, least=least, most=most):
        raise SlideError(f"wanted {wanted}, got {value}")


def is_whole(value: Any, *, least: int, most: float = math.inf) -> bool:
    """Whether a value is a whole number, of an integer kind, in a range."""
    return (type(value) is int or isinstance(value, Integral)) and least <= int(value) <= most


def check_size(size_px: Any) -> None:
    """Checks the width and height of an image, pixels.

    Raises:
        SlideError: One is not a whole number of at least 1.
    """
    if not (len(size_px) == 2 and is_whole(size_px[0], least=1) and is_whole(size_px[1], least=1)):
        raise SlideError(f"wanted a size of at least 1 x 1 px, in whole pixels, got {size_px}")


def check_colour(colour: Any) -> None:
    """Checks a colour: red, green and blue, 0 to 255.

    Raises:
        SlideError: It is something else.
    """
    if not (len(colour) == 3 and all(is_whole(channel, least=0, most=255) for channel in colour)):
        raise SlideError(f"wanted a colour of three whole numbers from 0 to 255, got {colour}")


def exact(value: float | Fraction) -> Fraction:
    """The decimal fraction that a finite number is written as: 0.2 is a fifth, not the binary number next to it."""
    return value if isinstance(value, Fraction) else Fraction(str(value))
