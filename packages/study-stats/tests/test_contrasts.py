import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom, fisher_exact, norm
from statsmodels.stats.proportion import confint_proportions_2indep, tost_proportions_2indep

from study_stats.inference.contrasts import Contrast, contrast
from study_stats.inference.permutation import permutation_test


def compared(said: np.ndarray, second: np.ndarray, seen: np.ndarray | None = None) -> Contrast:
    """Compares groups of images, of which readers gave an answer or not, (readers, images)."""
    reader, image = np.nonzero(np.ones(said.shape) if seen is None else seen)
    columns = (reader, image, second[image], said[reader, image])
    return contrast(*(pd.Series(column) for column in columns))


def table(first: tuple[int, int], second: tuple[int, int]) -> Contrast:
    """One reader's hits and their number in each group."""
    said = np.repeat([1, 0, 1, 0], [first[0], first[1] - first[0], second[0], second[1] - second[0]])
    return compared(said[None], np.arange(len(said)) >= first[1])


PAIRS = st.integers(1, 50).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


@settings(deadline=None, max_examples=25)
@given(PAIRS, PAIRS)
def test_one_reader_is_fisher_and_newcombe(first: tuple[int, int], second: tuple[int, int]) -> None:
    found = table(first, second)
    squares = [[hits, count - hits] for hits, count in (first, second)]
    assert found.difference == pytest.approx(second[0] / second[1] - first[0] / first[1])
    assert found.p_value == pytest.approx(fisher_exact(squares).pvalue)
    expected = confint_proportions_2indep(*second, *first, method="newcomb", alpha=0.1)
    assert found.interval(0.9) == pytest.approx(expected)
    assert found.inflation == pytest.approx(1)


def test_a_reader_who_copies_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    said, second = rng.random((1, 50)) < 0.4, np.arange(50) < 20
    alone, twice = compared(said, second), compared(np.repeat(said, 2, axis=0), second)
    assert twice.inflation == pytest.approx(2)
    assert twice.p_value == pytest.approx(alone.p_value)
    assert twice.interval(0.95) == pytest.approx(alone.interval(0.95))
    assert twice.p_value_of_equivalence(0.3) == pytest.approx(alone.p_value_of_equivalence(0.3))


def test_readers_are_compared_with_themselves() -> None:
    # One reader says it of 80 %, of both groups, the other of 20 %; they saw unequal parts of the groups.
    def answers(yes: int, no: int) -> list[int]:
        return [1] * yes + [0] * no

    said = np.array([answers(32, 8) + answers(8, 2) + [0] * 50, [0] * 50 + answers(2, 8) + answers(8, 32)])
    second = np.array([False] * 40 + [True] * 10 + [False] * 10 + [True] * 40)
    seen = np.array([[1] * 50 + [0] * 50, [0] * 50 + [1] * 50])
    found = compared(said, second, seen)
    pooled = found.hits.sum(1) / found.totals.sum(1)
    assert pooled[1] - pooled[0] == pytest.approx(-0.36)
    assert found.difference == pytest.approx(0)
    assert found.p_value > 0.9
    assert (found.images, found.exchanged) == (100, 100)


def test_readers_who_saw_one_group_only_are_left_out() -> None:
    rng = np.random.default_rng(1)
    said, second = rng.random((3, 30)) < 0.5, np.arange(30) < 15
    seen = np.ones((3, 30))
    seen[2, second] = 0
    found, without = compared(said, second, seen), compared(said[:2], second)
    assert (found.difference, found.p_value) == pytest.approx((without.difference, without.p_value))
    nobody = compared(said[2:], second, seen[2:])
    assert nobody.interval(0.95) == (-1, 1)
    assert np.isnan([nobody.difference, nobody.p_value, nobody.p_value_of_equivalence(0.2)]).all()


def test_images_are_exchanged_where_the_same_readers_saw_them() -> None:
    said, second = np.random.default_rng(2).random((2, 40)) < 0.5, np.arange(40) % 2 == 0
    seen = np.ones((2, 40))
    seen[1, 30:] = 0  # the second reader stopped early
    assert (compared(said, second, seen).images, compared(said, second, seen).exchanged) == (40, 40)
    seen[1, second] = np.arange(20) < 8  # and earlier in one group
    assert compared(said, second, seen).exchanged == 40
    seen[1] = ~second
    seen[1, 0] = 1
    assert compared(said, second, seen).exchanged == 21


def test_images_that_differ_do_not_make_groups_that_differ() -> None:
    rng = np.random.default_rng(3)
    second, rejected, covered, careless = np.arange(50) < 25, 0, 0, 0
    reader = np.repeat(np.arange(8), 50)
    for _ in range(80):
        said = rng.random((8, 50)) < expit(rng.normal(0, 0.7, (8, 1)) + rng.normal(0, 1, 50))
        found = compared(said, second)
        rejected += found.p_value <= 0.05
        low, high = found.interval(0.95)
        covered += low <= 0 <= high
        careless += permutation_test(said.ravel().astype(int), np.tile(second, 8), reader) <= 0.05
    assert rejected <= 8  # of 80; there are more once in 50 times where it is 5 %
    assert covered >= 71
    assert careless >= 8  # taking answers on one image for independent, which they are not


@settings(deadline=None, max_examples=25)
@given(PAIRS, PAIRS, st.floats(0.02, 0.9), st.floats(0.001, 0.2))
def test_the_interval_lies_within_the_margin_where_the_test_says_so(
    first: tuple[int, int], second: tuple[int, int], margin: float, alpha: float
) -> None:
    found = table(first, second)
    low, high = found.interval(1 - 2 * alpha)
    p_value = found.p_value_of_equivalence(margin)
    if abs(p_value - alpha) > 1e-6:
        assert (p_value < alpha) == (-margin < low and high < margin)


def test_equivalence_is_much_like_that_of_statsmodels_where_counts_are_large() -> None:
    for first, second in (((250, 500), (260, 500)), ((90, 400), (130, 400)), ((300, 310), (330, 350))):
        expected = tost_proportions_2indep(*second, *first, -0.1, 0.1, method="score", correction=False).pvalue
        assert table(first, second).p_value_of_equivalence(0.1) == pytest.approx(expected, abs=0.01)


def test_a_reader_at_the_margin_passes_little_more_often_than_alpha() -> None:
    count, margin, outcomes = 25, 0.4, np.arange(26)

    def passes(first: int, second: int) -> bool:
        hits, totals = np.array([[first], [second]]), np.full((2, 1), count)
        return (
            Contrast(hits, totals, 1.0, *(np.zeros(0, kind) for kind in (int, bool, int))).p_value_of_equivalence(
                margin
            )
            <= 0.05
        )

    for share in (0.3, 0.4):  # where it passes least and most often
        chances = binom.pmf(outcomes, count, share)[:, None] * binom.pmf(outcomes, count, share + margin)
        likely = np.argwhere(chances > 1e-4)
        passed = sum(chances[first, second] for first, second in likely if passes(first, second))
        assert 0.04 < passed < 0.07


def test_a_margin_that_is_far_away_is_kept_for_certain() -> None:
    found = table((500, 1000), (500, 1000))
    assert found.p_value_of_equivalence(0.1) == pytest.approx(norm.sf(0.1 / np.sqrt(0.5 / 1000)), rel=0.2)
    assert found.p_value_of_equivalence(0.9) == pytest.approx(0, abs=1e-100)
    assert table((0, 50), (50, 50)).p_value_of_equivalence(0.1) == pytest.approx(1)
