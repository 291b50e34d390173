"""Every figure of the published tables, from their counts."""

from collections.abc import Callable

import pytest

from study_stats import Classifications, realism

# correct, incorrect, p, |p - 0.5|
STUDIES: dict[str, dict[str, tuple[int, int, float, float]]] = {
    "A": {
        "Pathologist 1": (51, 36, 0.4138, 0.0862),
        "Pathologist 2": (210, 100, 0.3226, 0.1774),
        "Pathologist 3": (14, 92, 0.8679, 0.3679),
        "Pathologist 4": (32, 74, 0.6981, 0.1981),
        "Non-expert": (14, 22, 0.6111, 0.1111),
    },
    "B": {
        "Pathologist 1": (250, 179, 0.4172, 0.0828),
        "Pathologist 2": (106, 145, 0.5777, 0.0777),
        "Pathologist 3": (29, 99, 0.7734, 0.2734),
        "Non-expert": (110, 162, 0.5956, 0.0956),
    },
    "C": {
        "Pathologist 1": (61, 66, 0.5197, 0.0197),
        "Pathologist 2": (152, 6, 0.0380, 0.4620),
        "Pathologist 3": (28, 33, 0.5410, 0.0410),
        "Pathologist 4": (47, 10, 0.1754, 0.3246),
        "Non-expert": (29, 21, 0.4200, 0.0800),
    },
}
# correct, incorrect, p, weighted MAE
TOTALS = {"A": (321, 324, 0.5023, 0.1961), "B": (495, 585, 0.5417, 0.1074), "C": (317, 136, 0.3002, 0.2219)}


def counts(study: str) -> dict[str, tuple[int, int]]:
    return {reader: row[:2] for reader, row in STUDIES[study].items()}


@pytest.mark.parametrize("study", STUDIES)
def test_each_reader_of_the_tables(study: str) -> None:
    for row in realism(counts(study)).readers:
        found = (row.correct, row.incorrect, round(row.p, 4), round(row.abs_error, 4))
        assert found == STUDIES[study][row.reader]


@pytest.mark.parametrize("study", STUDIES)
def test_the_totals_of_the_tables(study: str) -> None:
    found = realism(counts(study))
    total = found.total
    assert (total.correct, total.incorrect, round(total.p, 4), round(found.weighted_mae, 4)) == TOTALS[study]


@pytest.mark.parametrize("study", STUDIES)
def test_classifications_give_what_their_counts_give(study: str, from_answers: Callable[..., Classifications]) -> None:
    answers = {reader: [True] * right + [False] * wrong for reader, (right, wrong) in counts(study).items()}
    found, expected = realism(from_answers(answers)), realism(counts(study))
    assert found.frame.loc[expected.frame.index].equals(expected.frame)
    assert found.weighted_mae == pytest.approx(expected.weighted_mae, rel=1e-12)


def test_the_published_0_0823_is_0_0828() -> None:
    row = realism(counts("B")).readers[0]
    assert row.reader == "Pathologist 1"
    assert row.abs_error == pytest.approx(abs(179 / 429 - 0.5), abs=1e-15)
    assert round(row.abs_error, 4) == 0.0828 != 0.0823
    assert "0.0828" in str(realism(counts("B")))


def test_a_reader_who_saw_nothing_has_a_row_and_no_figures() -> None:
    without, with_one = realism(counts("B")), realism({**counts("B"), "Pathologist 4": (0, 0)})
    assert "Pathologist 4        0          0       -          -" in str(with_one)
    assert with_one.readers[:-1] == without.readers
    assert (with_one.total, with_one.weighted_mae) == (without.total, without.weighted_mae)


def test_a_total_near_one_half_hides_readers_who_do_not_guess() -> None:
    study = realism(counts("B"))
    assert all(row.p_value < 0.05 for row in study.readers)
    assert all(row.p_value_corrected < 0.05 for row in study.readers)
    study = realism(counts("A"))
    assert study.total.p_value > 0.9
    assert sum(row.p_value_corrected < 0.05 for row in study.readers) == 3


def test_pathologist_2_of_study_c_saw_through_the_crops() -> None:
    row = realism(counts("C")).readers[1]
    assert 1e-38 < row.p_value < 1e-36
    assert row.interval[1] < 0.1
