import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from study_stats import (
    Classifications,
    SingleCounts,
    StudyError,
    discrimination,
    plot_learning,
    plot_readers,
    plot_times,
    realism,
    response_times,
)


def data_of(line: Line2D) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_readers_stand_with_their_share_and_interval() -> None:
    found = realism({"A": (20, 30), "nobody": (0, 0), "B": (45, 5)})
    axes = plot_readers(found).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A (n = 50)", "B (n = 50)", "total (n = 100)"]
    drawn = [tuple(x) for x, y in map(data_of, axes.lines) if len(x) == 2 and y[0] == y[1]]
    assert drawn == [row.interval for row in (found.readers[0], found.readers[2], found.total)]
    assert [text.get_text() for text in axes.texts] == ["0.600", "0.100", "0.350"]


def test_learning_is_the_share_of_the_last_ones(from_answers: Callable[..., Classifications]) -> None:
    study = from_answers({"A": [False] * 10 + [True] * 20, "few": [True, False]})
    axes = plot_learning(study, window=10).axes[0]
    lines = {line.get_label(): data_of(line) for line in axes.lines}
    x, y = lines["A"]
    assert x[[0, -1]].tolist() == [10, 30]
    assert y == pytest.approx([*np.linspace(1, 0, 11), *[0] * 10])
    assert [values.tolist() for values in lines["few"]] == [[2], [0.5]]


def test_times_have_their_medians(simulate: Callable[..., Classifications]) -> None:
    study = simulate(np.random.default_rng(0), readers=2)
    axes = plot_times(response_times(study)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["reader 0", "reader 1"]
    medians = [data_of(line)[0][0] for line in axes.lines if line.get_linewidth() == 2.5]
    assert medians == [10] * 4


def test_plots_can_be_saved_without_a_display(simulate: Callable[..., Classifications]) -> None:
    study = simulate(np.random.default_rng(0), readers=3, images=40)
    for figure in (plot_readers(realism(study)), plot_learning(study), plot_times(response_times(study))):
        file = io.BytesIO()
        figure.savefig(file, format="svg")
        assert b"reader 2" in file.getvalue()


def test_nothing_to_draw(from_answers: Callable[..., Classifications]) -> None:
    with pytest.raises(StudyError, match="no classification has a time"):
        plot_times(response_times(from_answers({"A": [True]})))
    with pytest.raises(StudyError, match="there are no classifications"):
        plot_learning(from_answers({}))
    with pytest.raises(StudyError, match="window is 0, wanted a whole number of 1 or more"):
        plot_learning(from_answers({"A": [True]}), window=0)


def test_readers_of_single_images_stand_with_both_shares() -> None:
    counts = {"A": SingleCounts(40, 30, 40, 10), "nobody": SingleCounts(0, 0, 0, 0), "half": SingleCounts(20, 5, 0, 0)}
    found = discrimination(counts)
    axes = plot_readers(found).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A (n = 80)", "half (n = 20)", "total (n = 100)"]
    assert [text.get_text() for text in axes.texts] == ["0.750", "0.250", "0.583", "0.250", "0.250"]
    drawn = [tuple(x) for x, _ in map(data_of, axes.lines) if len(x) == 2]
    a, _, half = found.readers
    assert drawn[:3] == [a.real_interval, half.real_interval, found.total.real_interval]
    assert drawn[3:] == [a.synthetic_interval, found.total.synthetic_interval]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["real images", "synthetic images"]
