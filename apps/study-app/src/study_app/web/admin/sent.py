"""Values that a form sent."""

from flask import request

from run_folder import UsageError


def text(field: str) -> str:
    """A text, without spaces round it; empty if it was not sent."""
    return request.form.get(field, "").strip()


def number(field: str) -> float:
    """A number.

    Raises:
        UsageError: It is none.
    """
    try:
        return float(text(field))
    except ValueError:
        raise UsageError(f"{field.replace('_', ' ')}: '{text(field)}' is no number") from None


def whole_number(field: str) -> int:
    """A whole number.

    Raises:
        UsageError: It is none.
    """
    try:
        return int(text(field))
    except ValueError:
        raise UsageError(f"{field.replace('_', ' ')}: '{text(field)}' is no whole number") from None
