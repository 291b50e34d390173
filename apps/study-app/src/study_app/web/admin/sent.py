"""Values that a form sent."""

from collections.abc import Callable
from typing import TypeVar

from flask import request

from run_folder import UsageError

Number = TypeVar("Number", int, float)


def text(field: str) -> str:
    """A text, without spaces round it; empty if it was not sent."""
    return request.form.get(field, "").strip()


def number(field: str) -> float:
    """A number.

    Raises:
        UsageError: It is none.
    """
    return _parsed(field, float, "number")


def whole_number(field: str) -> int:
    """A whole number.

    Raises:
        UsageError: It is none.
    """
    return _parsed(field, int, "whole number")


def _parsed(field: str, kind: Callable[[str], Number], name: str) -> Number:
    try:
        return kind(text(field))
    except ValueError:
        raise UsageError(f"{field.replace('_', ' ')}: '{text(field)}' is no {name}") from None
