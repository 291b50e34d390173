"""Numbers as text for a page."""

import math
from datetime import UTC, datetime

MISSING = "-"


def share(value: float, digits: int = 4) -> str:
    """A share, or a dash for NaN."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign, or a dash for NaN."""
    return MISSING if math.isnan(value) else f"{value:+.{digits}f}"


def interval(pair: tuple[float, float], digits: int = 4) -> str:
    """An interval of shares."""
    return MISSING if math.isnan(sum(pair)) else f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def signed_interval(pair: tuple[float, float], digits: int = 4) -> str:
    """An interval of differences."""
    return MISSING if math.isnan(sum(pair)) else f"{pair[0]:+.{digits}f} to {pair[1]:+.{digits}f}"


def p_value(value: float) -> str:
    """A p-value with its significant digits."""
    return MISSING if math.isnan(value) else f"{value:.3g}"


def seconds(value: float) -> str:
    """A response time."""
    return MISSING if math.isnan(value) else f"{value:.1f} s"


def moment(time: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return MISSING if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


FILTERS = {text.__name__: text for text in (share, signed, interval, signed_interval, p_value, seconds, moment)}
"""Filters for templates, by their names."""
