"""Figures of a study, for matplotlib. None of them touches pyplot, so they can be drawn on a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study_stats.analyses.discrimination import Discrimination
from study_stats.analyses.realism import Realism
from study_stats.analyses.response_times import ResponseTimes
from study_stats.classifications.single_images import AnyClassifications
from study_stats.errors import StudyError, check_whole

_COLOURS = ("#1f5fa8", "#c2571a", "#3c8a4e", "#8a4fa3", "#a3862f", "#4a8f98")
_FAINT = "#d5d9de"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6470",
    "svg.fonttype": "none",
}
_WIDTH_INCH = 7.6


def plot_readers(result: Realism | Discrimination) -> Figure:
    """Draws each reader's share of images taken for real with its interval, and the total.

    Of pairs, that is p, beside the line of guessing; of single images, there is a share of real and one of synthetic
    ones, which are alike where a reader cannot tell them apart.
    """
    names = [row.reader for row in (*result.readers, result.total)]
    series = _shares(result)
    counts = np.array([[count for _, count, _ in marks] for marks in series.values()]).sum(0)
    shown = np.flatnonzero(counts)
    with _drawing(0.9 + (0.08 + 0.3 * len(series)) * len(shown)) as (drawing, axes):
        for number, (kind, marks) in enumerate(series.items()):
            shift = 0.32 * (number - (len(series) - 1) / 2)
            for place, (hits, count, interval) in enumerate([marks[row] for row in shown]):
                total = place == len(shown) - 1
                colour = "#20242a" if total and len(series) == 1 else _COLOURS[number]
                if not count:
                    continue
                axes.plot(interval, [place + shift] * 2, color=colour, linewidth=2)
                axes.plot(hits / count, place + shift, "D" if total else "o", color=colour, markersize=7)
                text, at = f"{hits / count:.3f}", (hits / count, place + shift)
                away, side = (-7, "top") if number else (7, "bottom")
                label = axes.annotate(text, at, (0, away), textcoords="offset points", ha="center", va=side, size=9)
                label.set_bbox({"color": "white", "pad": 0.5})  # over the line of guessing
            axes.plot([], [], "o-", color=_COLOURS[number], label=kind)
        axes.set_yticks(range(len(shown)), [f"{names[row]} (n = {counts[row]:,})" for row in shown])
        axes.set_ylim(len(shown) - 0.5, -0.7)
        axes.set_xlim(0, 1)
        axes.grid(axis="x", color=_FAINT)
        intervals = f"{100 * result.confidence:.4g}% intervals"
        if isinstance(result, Realism):
            axes.axvline(0.5, color="#5b6470", linewidth=1, zorder=1.5)
            axes.set_xlabel(f"p, share of synthetic images taken for real, and {intervals}")
        else:
            axes.set_xlabel(f"share of images called real, and {intervals}")
            _legend(axes)
    return drawing


def _shares(result: Realism | Discrimination) -> dict[str, list[tuple[int, int, tuple[float, float]]]]:
    """What is drawn of each reader and the total, by kind of image: hits, their number, and the interval."""
    if isinstance(result, Realism):
        rows = (*result.readers, result.total)
        return {"synthetic images": [(row.incorrect, row.correct + row.incorrect, row.interval) for row in rows]}
    singles = (*result.readers, result.total)
    return {
        "real images": [(row.real_called_real, row.real, row.real_interval) for row in singles],
        "synthetic images": [(row.synthetic_called_real, row.synthetic, row.synthetic_interval) for row in singles],
    }


def plot_learning(classifications: AnyClassifications, *, window: int = 30) -> Figure:
    """Draws each reader's share of incorrect classifications as the study goes on: over the last ones, at each.

    Args:
        classifications: At least one.
        window: Over how many; a reader with fewer is drawn as a point over all of them.

    Raises:
        StudyError: There are no classifications, or the window is empty.
    """
    window = check_whole("window", window, 1)
    if not len(classifications):
        raise StudyError("there are no classifications; wanted at least one")
    ordered = classifications.answers.sort_values("time_answered", kind="stable")
    with _drawing(3.4) as (drawing, axes):
        axes.axhline(0.5, color="#5b6470", linewidth=1)
        for (reader, correct), colour in zip(ordered.groupby("reader")["correct"], cycle(_COLOURS), strict=False):
            wrong = (~correct).to_numpy(np.float64)
            size = min(window, len(wrong))
            shares = np.convolve(wrong, np.full(size, 1 / size), "valid")
            places = np.arange(size, len(wrong) + 1)
            axes.plot(places, shares, color=colour, marker="o" if len(places) == 1 else None, label=str(reader))
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(left=0)
        axes.grid(color=_FAINT)
        axes.set_xlabel("classifications of the reader so far")
        axes.set_ylabel(f"share incorrect of the last {window}")
        _legend(axes)
    return drawing


def plot_times(times: ResponseTimes) -> Figure:
    """Draws how long each reader took, for correct and for incorrect classifications.

    Boxes have the middle half of the times and their median, whiskers the middle nine tenths.

    Raises:
        StudyError: No classification has a time.
    """
    if not len(times.times):
        raise StudyError("no classification has a time: each is the first of its session, or came after a pause")
    readers = sorted(times.times["reader"].unique())
    with _drawing(0.9 + 0.55 * len(readers)) as (drawing, axes):
        for correct, shift, colour in ((True, -0.18, _COLOURS[0]), (False, 0.18, _COLOURS[1])):
            mine = times.times[times.times["correct"] == correct]
            seconds = [mine.loc[mine["reader"] == reader, "seconds"].to_numpy() for reader in readers]
            filled = [(place, values) for place, values in enumerate(seconds) if len(values)]
            for place, values in filled:
                low, left, middle, right, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
                axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=1)
                axes.barh(place + shift, right - left, 0.28, left, color=colour, alpha=0.45)
                axes.plot([middle] * 2, [place + shift - 0.14, place + shift + 0.14], color=colour, linewidth=2.5)
            axes.plot([], [], color=colour, linewidth=5, alpha=0.6, label="correct" if correct else "incorrect")
        axes.set_yticks(range(len(readers)), readers)
        axes.set_ylim(len(readers) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=_FAINT)
        axes.set_xlabel("seconds from the answer before")
        _legend(axes)
    return drawing


@contextmanager
def _drawing(height_inch: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure in the style of all, with one plot to draw in."""
    with mpl.rc_context(_STYLE):
        drawing = Figure((_WIDTH_INCH, height_inch), layout="constrained")
        axes = drawing.add_subplot()
        axes.set_axisbelow(True)
        yield drawing, axes


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
