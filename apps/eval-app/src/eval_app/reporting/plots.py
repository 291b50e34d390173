"""The plots of a report, as pictures that are part of the page."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np

from pfid import Figure, ScaleFigure
from run_folder.cli.pages import svg_uri

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


def plot_values(named: Sequence[tuple[str, Figure]]) -> str | None:
    """Draws the values of several generated sides with their intervals, as the source of an image.

    Args:
        named: What each side is called, and its value.

    Returns:
        None for a single value without an interval, of which there is nothing to see.
    """
    if len(named) < 2 and named[0][1].interval is None:
        return None
    with mpl.rc_context(_STYLE):
        drawing = mpl.figure.Figure((_WIDTH_INCH, 0.8 + 0.38 * len(named)), layout="constrained")
        axes = drawing.add_subplot()
        for row, ((_, figure), colour) in enumerate(zip(named, cycle(_COLOURS), strict=False)):
            low, high = figure.interval or (figure.value, figure.value)
            axes.plot([low, high], [row, row], color=colour, linewidth=2)
            axes.plot(figure.value, row, "o", color=colour, markersize=7)
            axes.annotate(f"{figure.value:.4g}", (figure.value, row), (0, 7), textcoords="offset points", ha="center")
        axes.set_yticks(range(len(named)), [name for name, _ in named])
        axes.set_ylim(len(named) - 0.4, -0.7)
        axes.set_xlim(0, _beyond(max(figure.interval or (figure.value,)) for _, figure in named))
        axes.grid(axis="x", color="#d5d9de")
        axes.set_axisbelow(True)
        axes.set_xlabel(named[0][1].name)
        return svg_uri(drawing)


def plot_magnifications(named: Sequence[tuple[str, Sequence[ScaleFigure]]]) -> str | None:
    """Draws the values by magnification, a line for each generated side, as the source of an image.

    Args:
        named: What each side is called, and its values.

    Returns:
        None where there is one magnification or none.
    """
    named = [(name, figures) for name, figures in named if len(figures) > 1]
    if not named:
        return None
    with mpl.rc_context(_STYLE):
        drawing = mpl.figure.Figure((_WIDTH_INCH, 3.0), layout="constrained")
        axes = drawing.add_subplot()
        for (name, figures), colour in zip(named, cycle(_COLOURS), strict=False):
            middles = [float(np.sqrt(low * high)) for low, high in (each.reduction for each in figures)]
            values = [each.figure.value for each in figures]
            axes.plot(middles, values, "o-", color=colour, label=name)
            for (low, high), value in zip((each.reduction for each in figures), values, strict=True):
                axes.plot([low, high], [value, value], color=colour, alpha=0.35, linewidth=4)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"1/{value:.3g}")
        axes.set_ylim(0, _beyond(each.figure.value for _, figures in named for each in figures))
        axes.grid(color="#d5d9de")
        axes.set_axisbelow(True)
        axes.set_xlabel("scale of the crops, as a share of the real images' resolution")
        axes.set_ylabel("patch-FID of these crops")
        axes.legend(frameon=False)
        return svg_uri(drawing)


def _beyond(values: Iterable[float]) -> float:
    """Where an axis ends: a little beyond the largest value."""
    return 1.1 * max(values) or 1.0
