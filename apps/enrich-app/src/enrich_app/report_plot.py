"""The plot of a report: Dice and AJI of the strategies, with intervals over images and over seeds."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.figure

from enrich_app.table_text import NAMES
from maskcond.enrichment.strategies.strategy_table import TableRow
from run_folder.cli.pages import svg_uri

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "enrich-app",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6470",
}
_COLOURS = ("#1f5fa8", "#c2571a", "#3c8a4e", "#8a4fa3")
_APART = 0.22


def plot_strategies(rows: Sequence[TableRow]) -> str:
    """Draws Dice and AJI of each strategy on each test set, as the source of an image.

    Args:
        rows: Of the table.
    """
    strategies = list(dict.fromkeys(row.strategy for row in rows))
    splits = list(dict.fromkeys(row.split for row in rows))
    with mpl.rc_context(_STYLE):
        drawing = mpl.figure.Figure((9.2, 1.3 + 0.5 * len(strategies)), layout="constrained")
        for place, (axes, name) in enumerate(zip(drawing.subplots(1, 2, sharey=True), ("dice", "aji"), strict=True)):
            for row in rows:
                figure, split = row.figures[name], splits.index(row.split)
                at = strategies.index(row.strategy) + (split - (len(splits) - 1) / 2) * _APART
                colour = _COLOURS[split % len(_COLOURS)]
                first = row.strategy == strategies[0] and not place
                axes.plot(_percent(figure.over_images), [at, at], color=colour, linewidth=2)
                if figure.over_seeds is not None:
                    axes.plot(_percent(figure.over_seeds), [at, at], color=colour, linewidth=6, alpha=0.3)
                label = row.split if first else None
                axes.plot(100 * figure.value, at, "o", color=colour, markersize=5, label=label)
            axes.set_yticks(range(len(strategies)), [f"({strategy})" for strategy in strategies])
            axes.set_ylim(len(strategies) - 0.4, -0.6)
            axes.grid(axis="x", color="#d5d9de")
            axes.set_axisbelow(True)
            axes.set_xlabel(f"{NAMES[name]}, %")
        drawing.legend(frameon=False, loc="outside upper center", ncols=len(splits))
        return svg_uri(drawing)


def _percent(interval: tuple[float, float]) -> list[float]:
    # with few seeds the interval can exceed the range of the metric
    return [100 * min(max(end, 0.0), 1.0) for end in interval]
