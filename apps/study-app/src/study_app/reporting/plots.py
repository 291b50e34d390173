"""Plots of a report, embedded in the page."""

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from run_folder.cli.pages import svg_uri
from study_app.reporting.findings import AnyAnswers
from study_stats import StudyError, plot_learning, plot_readers, plot_times

_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "study-app"}


def readers_plot(result: Any) -> str:
    """Plots each reader's share with its interval, from a result of `realism` or `discrimination`."""
    return _source(plot_readers(result))


def learning_plot(answers: AnyAnswers) -> str | None:
    """Plots the share of incorrect answers over the course of the study; None if there are no answers."""
    try:
        return _source(plot_learning(answers))
    except StudyError:
        return None


def times_plot(result: Any) -> str | None:
    """Plots the readers' response times, from a result of `response_times`; None if no answer has a time."""
    try:
        return _source(plot_times(result))
    except StudyError:
        return None


def _source(drawing: Figure) -> str:
    with mpl.rc_context(_STYLE):
        return svg_uri(drawing)
