from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from study_stats.inference.permutation import permutation_test, permutation_test_of_tables


def rows(tables: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, groups and strata of tables of: second group 1 and 0, first group 1 and 0."""
    scores, second, strata = (
        np.concatenate([np.repeat(values, table) for table in tables])
        for values in ([1, 0, 1, 0], [True, True, False, False], [0, 0, 0, 0])
    )
    return scores, second, strata + np.repeat(np.arange(len(tables)), [sum(table) for table in tables])


@settings(deadline=None, max_examples=25)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_one_stratum_of_ones_and_zeros_is_fishers_test(table: tuple[int, int, int, int]) -> None:
    data = rows([table])
    square = [table[:2], table[2:]]
    assert permutation_test(*data) == pytest.approx(fisher_exact(square).pvalue)
    assert permutation_test(*data, "greater") == pytest.approx(fisher_exact(square, "greater").pvalue)
    hits, totals = np.array([[table[2]], [table[0]]]), np.array([[sum(table[2:])], [sum(table[:2])]])
    assert permutation_test_of_tables(hits, totals, "greater") == pytest.approx(permutation_test(*data, "greater"))


def test_the_example_of_agresti() -> None:
    """Penicillin and rabbits, Agresti 1990, pages 231 to 237: 0.040 by the exact test, 0.020 by the one-sided one."""
    data = rows([(0, 6, 0, 5), (3, 3, 0, 6), (6, 0, 2, 4), (5, 1, 6, 0), (2, 0, 5, 0)])
    assert round(permutation_test(*data), 3) == 0.040
    assert round(permutation_test(*data, "greater"), 3) == 0.020


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_exchanged_in_all_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, strata = rng.integers(0, 5, 11), np.array([0] * 6 + [1] * 5)
    second = np.array([True, False] * 5 + [True])
    sums = [
        scores[list(one)].sum() + scores[list(other)].sum()
        for one in combinations(range(6), 3)
        for other in combinations(range(6, 11), 3)
    ]
    values, counts = np.unique(sums, return_counts=True)
    seen = scores[second].sum()
    as_likely = counts[counts <= counts[values == seen]].sum() / len(sums)
    assert permutation_test(scores, second, strata) == pytest.approx(as_likely)
    assert permutation_test(scores, second, strata, "greater") == pytest.approx(np.mean(sums >= seen))


def test_a_stratum_of_one_group_tells_nothing() -> None:
    tables = [(9, 3, 2, 8)]
    assert permutation_test(*rows([*tables, (7, 1, 0, 0)])) == pytest.approx(permutation_test(*rows(tables)))
    assert permutation_test(*rows([(7, 1, 0, 0), (0, 0, 5, 5)])) == 1


def test_what_is_hardly_possible_keeps_its_digits() -> None:
    table = (150, 0, 0, 150)
    assert permutation_test(*rows([table])) == pytest.approx(fisher_exact([table[:2], table[2:]]).pvalue, rel=1e-6)


def test_where_there_are_too_many_for_all_ways_sums_are_taken_for_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, strata = rng.integers(0, 6, 300), rng.integers(0, 2, 300)
    second = rng.random(300) < 0.5 + 0.06 * (scores - 2.5)
    exact = [permutation_test(scores, second, strata, alternative) for alternative in ("two-sided", "greater")]
    monkeypatch.setattr("study_stats.inference.permutation._MOST_STEPS", 0)
    normal = [permutation_test(scores, second, strata, alternative) for alternative in ("two-sided", "greater")]
    assert normal == pytest.approx(exact, rel=0.1)
    assert 1e-4 < exact[0] < 0.02
