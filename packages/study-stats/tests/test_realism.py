import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from study_stats import StudyError, realism
from study_stats.inference.intervals import IntervalMethod, holm, share_interval

COUNTS = st.dictionaries(
    st.text("ABCDEFG", min_size=1, max_size=3),
    st.tuples(st.integers(0, 80), st.integers(0, 80)),
    min_size=1,
    max_size=5,
).filter(lambda counts: any(map(sum, counts.values())))


@settings(deadline=None, max_examples=15)
@given(COUNTS)
def test_tests_and_intervals_are_those_of_scipy_and_statsmodels(counts: dict[str, tuple[int, int]]) -> None:
    asked = [reader for reader, pair in counts.items() if sum(pair)]
    methods: list[tuple[IntervalMethod, str]] = [("exact", "beta"), ("wilson", "wilson")]
    for method, name in methods:
        found = realism(counts, confidence=0.9, method=method)
        rows = [row for row in found.readers if row.reader in asked]
        p_values = [binomtest(row.incorrect, row.correct + row.incorrect, 0.5).pvalue for row in rows]
        assert [row.p_value for row in rows] == pytest.approx(p_values, rel=1e-9)
        assert [row.p_value_corrected for row in rows] == pytest.approx(holm(p_values))
        for row in rows:
            low, high = proportion_confint(row.incorrect, row.correct + row.incorrect, 0.1 / len(rows), name)
            assert row.interval == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)


# statsmodels takes its time over each.
@settings(deadline=None, max_examples=10)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(COUNTS)
def test_who_is_right_half_the_time_less_is_wrong_half_the_time_more(counts: dict[str, tuple[int, int]]) -> None:
    found, mirrored = realism(counts), realism({reader: (wrong, right) for reader, (right, wrong) in counts.items()})
    assert mirrored.weighted_mae == pytest.approx(found.weighted_mae)
    for row, other in zip(found.readers, mirrored.readers, strict=True):
        assert other.p == pytest.approx(1 - row.p, nan_ok=True)
        assert other.interval == pytest.approx((1 - row.interval[1], 1 - row.interval[0]))
        assert other.p_value == pytest.approx(row.p_value, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(COUNTS)
def test_the_weighted_mae_weights_readers_by_their_classifications(counts: dict[str, tuple[int, int]]) -> None:
    found = realism(counts)
    shares = [(row.abs_error, row.correct + row.incorrect) for row in found.readers if row.correct + row.incorrect]
    errors, weights = zip(*shares, strict=True)
    assert found.weighted_mae == pytest.approx(np.average(errors, weights=weights))
    assert found.total.abs_error <= found.weighted_mae + 1e-12


@pytest.mark.parametrize("p", [0.03, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("count", [1, 12, 60])
def test_exact_intervals_cover_as_often_as_they_say(p: float, count: int) -> None:
    intervals = [share_interval(wrong, count, 0.95) for wrong in range(count + 1)]
    covering = [low <= p <= high for low, high in intervals]
    assert binom.pmf(np.arange(count + 1), count, p)[covering].sum() >= 0.95


def test_intervals_of_all_readers_cover_at_once() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.04, 0.4, 0.5, 0.7])
    covered = 0
    for wrong in rng.binomial(50, truth, (60, 4)):
        rows = realism({str(reader): (50 - int(k), int(k)) for reader, k in enumerate(wrong)}).readers
        covered += all(row.interval[0] <= p <= row.interval[1] for row, p in zip(rows, truth, strict=True))
    assert covered >= 0.95 * 60


def test_the_weighted_mae_by_guessing_is_what_guessing_gives() -> None:
    sizes = [40, 7, 90]
    rng = np.random.default_rng(1)
    guesses = np.stack([rng.binomial(size, 0.5, 20_000) for size in sizes])
    simulated = np.abs(guesses - np.array(sizes)[:, None] / 2).sum(0) / sum(sizes)
    found = realism({str(size): (size, 0) for size in sizes}).guessing_mae
    assert found == pytest.approx(simulated.mean(), abs=4 * simulated.std() / np.sqrt(20_000))


def test_the_frame_has_readers_and_total() -> None:
    frame = realism({"A": (3, 1), "B": (2, 4)}).frame
    assert list(frame.index) == ["A", "B", "total"]
    assert frame.loc["total", "incorrect"] == 5
    assert {"p", "abs_error", "p_value", "p_value_corrected", "low", "high"} <= set(frame)


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ({}, {}, "there are no classifications"),
        ({"A": (0, 0)}, {}, "there are no classifications"),
        ({"A": (-1, 2)}, {}, "reader 'A': correct is -1, wanted a whole number of 0 or more"),
        ({"A": (1.5, 2)}, {}, "reader 'A': correct is 1.5, wanted a whole number"),
        ({"A": (1, 2, 3)}, {}, "wanted whole numbers, correct, incorrect"),
        ({"A": (1, 2)}, {"confidence": 95}, "a confidence of 95: it lies between 0 and 1"),
        ({"A": (1, 2)}, {"method": "wald"}, "an interval by 'wald'"),
    ],
)
def test_what_makes_no_sense_is_one_line(counts: dict, settings: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(StudyError, match=message):
        realism(counts, **settings)


def test_holm_leaves_what_was_not_tested() -> None:
    assert holm([0.04, np.nan, 0.01]) == pytest.approx([0.04, np.nan, 0.02], nan_ok=True)
