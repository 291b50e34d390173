import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from study_stats import StudyError, equivalence


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.02, 0.45), st.floats(0.005, 0.2))
def test_the_interval_lies_within_the_margin_where_the_test_says_so(
    correct: int, incorrect: int, margin: float, alpha: float
) -> None:
    if correct + incorrect == 0:
        return
    row = equivalence({"A": (correct, incorrect)}, margin=margin, alpha=alpha).readers[0]
    inside = 0.5 - margin <= row.interval[0] and row.interval[1] <= 0.5 + margin
    if abs(row.p_value - alpha) > 1e-9:
        assert row.equivalent == inside
    wrong, count = incorrect, correct + incorrect
    expected = max(
        binomtest(wrong, count, 0.5 - margin, alternative="greater").pvalue,
        binomtest(wrong, count, 0.5 + margin, alternative="less").pvalue,
    )
    assert row.p_value == pytest.approx(expected)


@pytest.mark.parametrize("count", [30, 101])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_reader_at_the_margin_passes_no_more_often_than_alpha(count: int, side: int) -> None:
    outcomes = np.arange(count + 1)
    passes = [equivalence({"A": (count - k, k)}, margin=0.1).readers[0].equivalent for k in outcomes.tolist()]
    assert binom.pmf(outcomes, count, 0.5 + side * 0.1)[passes].sum() <= 0.05


def test_few_answers_show_no_equivalence_though_they_do_not_show_a_difference() -> None:
    counts = {"A": (10, 10)}
    assert not equivalence(counts, margin=0.1).readers[0].equivalent
    assert equivalence({"A": (1000, 1000)}, margin=0.1).readers[0].equivalent


def test_all_readers_at_once_are_as_good_as_the_worst() -> None:
    found = equivalence({"A": (200, 210), "B": (180, 220), "C": (0, 0)}, margin=0.15)
    assert found.all_readers_p_value == max(row.p_value for row in found.readers[:2])
    assert [row.equivalent for row in found.readers] == [True, True, False]
    assert "For all readers at once: shown" in str(found)
    assert list(found.frame.index) == ["A", "B", "C", "total"]


def test_the_total_can_be_equivalent_though_no_reader_is() -> None:
    found = equivalence({"fooled": (0, 300), "not fooled": (300, 0)}, margin=0.1)
    assert found.total.equivalent
    assert not any(row.equivalent for row in found.readers)
    assert "For all readers at once: not shown" in str(found)


@pytest.mark.parametrize("settings", [{"margin": 0}, {"margin": 0.5}, {"margin": 0.1, "alpha": 0.5}])
def test_margins_and_levels_that_make_no_sense(settings: dict[str, float]) -> None:
    with pytest.raises(StudyError, match=r"lies between 0 and 0\.5"):
        equivalence({"A": (1, 1)}, **settings)
