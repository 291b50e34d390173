from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom
from statsmodels.stats.proportion import confint_proportions_2indep

from study_stats import Classifications, StudyError, drift

FromAnswers: TypeAlias = Callable[..., Classifications]


def test_halves_are_compared_as_scipy_and_statsmodels_do(from_answers: FromAnswers) -> None:
    answers = {"A": [False] * 12 + [True] * 28, "B": [True] * 9 + [False] * 6 + [True] * 10 + [False] * 6}
    found = drift(from_answers(answers))
    tables = [[[12, 8], [0, 20]], [[6, 9], [6, 10]]]
    for row, ((wrong_1, right_1), (wrong_2, right_2)) in zip(found.readers, tables, strict=True):
        first, second = wrong_1 + right_1, wrong_2 + right_2
        assert (row.p_first, row.p_second) == (wrong_1 / first, wrong_2 / second)
        assert row.p_value == pytest.approx(fisher_exact([[wrong_1, right_1], [wrong_2, right_2]]).pvalue)
        newcombe = confint_proportions_2indep(wrong_2, second, wrong_1, first, method="newcomb", alpha=0.025)
        assert row.interval == pytest.approx(newcombe)
    # Given the margins, incorrect ones of a half are hypergeometric; both readers' together, their convolution.
    likely = np.convolve(hypergeom(40, 12, 20).pmf(np.arange(21)), hypergeom(31, 12, 16).pmf(np.arange(17)))
    assert found.p_value == pytest.approx(likely[likely <= likely[0 + 6] * (1 + 1e-9)].sum())
    assert list(found.frame["count"]) == [40, 31]


def test_a_reader_who_learns_is_told_from_one_who_does_not(from_answers: FromAnswers) -> None:
    rng = np.random.default_rng(0)
    wrong = {"learns": rng.random(200) < np.linspace(0.7, 0.1, 200), "guesses": rng.random(200) < 0.5}
    found = drift(from_answers({reader: ~answers for reader, answers in wrong.items()}))
    guesses, learns = found.readers
    assert learns.change < -0.2
    assert learns.p_value_corrected < 0.001
    assert learns.interval[1] < 0
    assert guesses.p_value_corrected > 0.05
    assert found.p_value < 0.05


def test_readers_who_differ_but_do_not_change_show_no_drift(from_answers: FromAnswers) -> None:
    rng = np.random.default_rng(1)
    found = [
        drift(from_answers({"A": rng.random(60) < 0.2, "B": rng.random(30) < 0.9})).p_value < 0.05 for _ in range(30)
    ]
    assert sum(found) <= 4


def test_the_order_is_that_of_the_answers_not_of_the_rows(from_answers: FromAnswers) -> None:
    study = from_answers({"A": [True] * 10 + [False] * 10})
    mixed = Classifications(study.frame.sample(frac=1, random_state=0))
    assert drift(mixed) == drift(study)
    assert drift(mixed).readers[0].change == 1


def test_readers_who_never_change_their_answer(from_answers: FromAnswers) -> None:
    found = drift(from_answers({"A": [True] * 6, "B": [False] * 6, "C": [True]}))
    assert found.p_value == 1
    assert [row.change for row in found.readers] == [0, 0]
    assert found.left_out == ("C",)
    assert str(found).endswith("left out, with one classification: C")


def test_nothing_to_compare(from_answers: FromAnswers) -> None:
    with pytest.raises(StudyError, match="no reader has two classifications"):
        drift(from_answers({"A": [True]}))
