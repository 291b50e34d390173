"""Results as text for a terminal, and as tables."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd


def interval_frame(rows: Iterable[Any], index: str | list[str] = "reader") -> pd.DataFrame:
    """Returns dataclasses as a table, one a row, with `low` and `high` for their `interval`."""
    values = [asdict(row) for row in rows]
    for row in values:
        row["low"], row["high"] = row.pop("interval")
    return pd.DataFrame(values).set_index(index)


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Sets a table in columns: the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def share_text(value: float) -> str:
    """A share with four digits, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def interval_text(interval: tuple[float, float]) -> str:
    """An interval of shares."""
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def signed_text(value: float, digits: int = 4) -> str:
    """A difference with its sign, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:+.{digits}f}"


def p_value_text(value: float) -> str:
    """A p-value with three digits that count, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def pooled_note(versions: Sequence[str]) -> list[str]:
    """A line that says so where several versions of a model were pooled."""
    if len(versions) < 2:
        return []
    return [f"Pools the versions {', '.join(versions)} of the model: see of_version and compare_versions."]


def exchanged_note(exchanged: int, images: int) -> list[str]:
    """A line that says how many images an exact test rests on, where it is not all of them."""
    if exchanged == images:
        return []
    return [f"Tests of all readers rest on {exchanged:,} of {images:,} images: those that the same readers saw."]
