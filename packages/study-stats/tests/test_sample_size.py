import numpy as np
import pytest
from scipy.stats import binom, binomtest

from study_stats import (
    StudyError,
    classifications_for_equivalence,
    classifications_for_power,
    classifications_for_width,
    equivalence,
    realism,
)
from study_stats.inference.intervals import IntervalMethod


@pytest.mark.parametrize("method", ["exact", "wilson"])
@pytest.mark.parametrize(("width", "p", "readers"), [(0.2, 0.5, 1), (0.15, 0.5, 4), (0.2, 0.1, 1), (0.3, 0.77, 3)])
def test_intervals_are_as_narrow_as_wanted_from_there_on(
    method: IntervalMethod, width: float, p: float, readers: int
) -> None:
    each = classifications_for_width(width, p=p, readers=readers, method=method).each

    def found(count: int) -> float:
        wrong = round(count * p)
        row = realism(dict.fromkeys("ABCD"[:readers], (count - wrong, wrong)), method=method).readers[0]
        return row.interval[1] - row.interval[0]

    assert found(each - 1) > width
    assert all(found(count) <= width for count in range(each, each + 12))


@pytest.mark.parametrize(("p", "readers", "power"), [(0.6, 1, 0.8), (0.3, 1, 0.9), (0.35, 4, 0.8)])
def test_the_exact_test_has_the_power_wanted_from_there_on(p: float, readers: int, power: float) -> None:
    each = classifications_for_power(p, readers=readers, power=power).each

    def found(count: int) -> float:
        rejects = [binomtest(wrong, count).pvalue <= 0.05 / readers for wrong in range(count + 1)]
        return float(binom.pmf(np.arange(count + 1), count, p)[rejects].sum())

    assert found(each - 1) < power
    assert all(found(count) >= power for count in range(each, each + 6))


@pytest.mark.parametrize(("margin", "p"), [(0.25, 0.5), (0.3, 0.55)])
def test_equivalence_is_found_as_often_as_wanted_from_there_on(margin: float, p: float) -> None:
    each = classifications_for_equivalence(margin, p=p).each

    def found(count: int) -> float:
        passes = [
            equivalence({"A": (count - wrong, wrong)}, margin=margin).total.equivalent for wrong in range(count + 1)
        ]
        return float(binom.pmf(np.arange(count + 1), count, p)[passes].sum())

    assert found(each - 1) < 0.8
    assert all(found(count) >= 0.8 for count in range(each, each + 3))


def test_more_readers_need_more_each_since_they_are_corrected_for() -> None:
    one, four = (classifications_for_power(0.6, readers=readers) for readers in (1, 4))
    assert four.each > one.each
    assert four.total == 4 * four.each
    assert str(one).startswith(f"{one.each} classifications, for a power of 0.8 to tell p = 0.6 from 0.5")
    assert str(four).startswith(f"{four.each} classifications by each of 4 readers ({four.total:,}), for")


def test_a_finer_question_needs_more() -> None:
    assert classifications_for_width(0.05).each > classifications_for_width(0.1).each
    assert classifications_for_power(0.52).each > classifications_for_power(0.55).each
    assert classifications_for_equivalence(0.05).each > classifications_for_equivalence(0.1).each
    # The normal approximation: (z / width)^2, a little more for an exact interval.
    assert classifications_for_width(0.02).each == pytest.approx((1.96 / 0.02) ** 2, rel=0.02)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(StudyError, match="a width of 0: it lies between 0 and 1"):
        classifications_for_width(0)
    with pytest.raises(StudyError, match=r"a share p of 0\.5 is what the test is against"):
        classifications_for_power(0.5)
    with pytest.raises(StudyError, match=r"a margin of 0\.1 round 0\.5 with p 0\.6"):
        classifications_for_equivalence(0.1, p=0.6)
    with pytest.raises(StudyError, match="number of readers is 0, wanted a whole number of 1 or more"):
        classifications_for_power(0.6, readers=0)
    with pytest.raises(StudyError, match="an interval by 'wald'"):
        classifications_for_width(0.1, method="wald")  # type: ignore[arg-type]


def test_what_no_study_can_do() -> None:
    with pytest.raises(StudyError, match="over 100,000 classifications would be needed"):
        classifications_for_width(0.002, method="wilson")
