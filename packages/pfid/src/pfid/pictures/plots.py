"""Plots of metric values (`pip install pfid[plots]`), as data URIs for a page."""

import base64
import io
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np

from pfid.metric_value import MetricValue, ScaleMetric

_COLOURS = ("#1f5fa8", "#c2571a", "#3c8a4e", "#8a4fa3", "#a3862f", "#4a8f98")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eval-app",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6470",
}
_WIDTH_INCH = 7.6


def plot_values(named: Sequence[tuple[str, MetricValue]]) -> str | None:
    """Draws the values of several generated sides with their intervals, as a data URI.

    Args:
        named: Name and value of each side.

    Returns:
        None for a single value without an interval.
    """
    if len(named) < 2 and named[0][1].interval is None:
        return None
    with mpl.rc_context(_STYLE):
        drawing = mpl.figure.Figure((_WIDTH_INCH, 0.8 + 0.38 * len(named)), layout="constrained")
        axes = drawing.add_subplot()
        for row, ((_, metric), colour) in enumerate(zip(named, cycle(_COLOURS), strict=False)):
            low, high = metric.interval or (metric.value, metric.value)
            axes.plot([low, high], [row, row], color=colour, linewidth=2)
            axes.plot(metric.value, row, "o", color=colour, markersize=7)
            axes.annotate(f"{metric.value:.4g}", (metric.value, row), (0, 7), textcoords="offset points", ha="center")
        axes.set_yticks(range(len(named)), [name for name, _ in named])
        axes.set_ylim(len(named) - 0.4, -0.7)
        axes.set_xlim(0, _beyond(max(metric.interval or (metric.value,)) for _, metric in named))
        axes.grid(axis="x", color="#d5d9de")
        axes.set_axisbelow(True)
        axes.set_xlabel(named[0][1].name)
        return _source(drawing)


def plot_magnifications(named: Sequence[tuple[str, Sequence[ScaleMetric]]]) -> str | None:
    """Draws the values by magnification, a line for each generated side, as a data URI.

    Args:
        named: Name and values of each side.

    Returns:
        None if no side has several magnifications.
    """
    named = [(name, figures) for name, figures in named if len(figures) > 1]
    if not named:
        return None
    with mpl.rc_context(_STYLE):
        drawing = mpl.figure.Figure((_WIDTH_INCH, 3.0), layout="constrained")
        axes = drawing.add_subplot()
        for (name, figures), colour in zip(named, cycle(_COLOURS), strict=False):
            middles = [float(np.sqrt(low * high)) for low, high in (scale.reduction for scale in figures)]
            values = [scale.metric.value for scale in figures]
            axes.plot(middles, values, "o-", color=colour, label=name)
            for (low, high), value in zip((scale.reduction for scale in figures), values, strict=True):
                axes.plot([low, high], [value, value], color=colour, alpha=0.35, linewidth=4)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"1/{value:.3g}")
        axes.set_ylim(0, _beyond(scale.metric.value for _, figures in named for scale in figures))
        axes.grid(color="#d5d9de")
        axes.set_axisbelow(True)
        axes.set_xlabel("scale of the crops, as a share of the real images' resolution")
        axes.set_ylabel("patch-FID of these crops")
        axes.legend(frameon=False)
        return _source(drawing)


def _beyond(values: Iterable[float]) -> float:
    """End of an axis: a little beyond the largest value."""
    return 1.1 * max(values) or 1.0


def _source(drawing: Any) -> str:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
