from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from study_stats import (
    Classifications,
    SingleClassifications,
    SingleCounts,
    StudyError,
    discrimination,
    equivalence,
)
from study_stats.inference.intervals import IntervalMethod

Single: TypeAlias = Callable[..., SingleClassifications]

COUNTS = {"A": SingleCounts(40, 31, 50, 26), "B": SingleCounts(30, 30, 40, 1), "C": SingleCounts(60, 20, 60, 24)}


@pytest.mark.parametrize(("method", "name"), [("exact", "beta"), ("wilson", "wilson")])
def test_readers_are_tested_as_scipy_and_statsmodels_do(method: IntervalMethod, name: str) -> None:
    rows = discrimination(COUNTS, method=method).readers
    squares = [[[row[1], row[0] - row[1]], [row[3], row[2] - row[3]]] for row in COUNTS.values()]
    p_values = [fisher_exact(square).pvalue for square in squares]
    assert [row.p_value for row in rows] == pytest.approx(p_values)
    assert [row.p_value_corrected for row in rows] == pytest.approx(multipletests(p_values, method="holm")[1])
    for row, (real, real_called, synthetic, synthetic_called) in zip(rows, COUNTS.values(), strict=True):
        assert (row.real_share, row.synthetic_share) == (real_called / real, synthetic_called / synthetic)
        newcombe = confint_proportions_2indep(
            synthetic_called, synthetic, real_called, real, method="newcomb", alpha=0.05 / 3
        )
        assert row.difference_interval == pytest.approx((-newcombe[1], -newcombe[0]))
        assert row.real_interval == pytest.approx(proportion_confint(real_called, real, 0.05 / 3, name))
        assert row.synthetic_interval == pytest.approx(proportion_confint(synthetic_called, synthetic, 0.05 / 3, name))
        assert row.accuracy == (real_called + synthetic - synthetic_called) / (real + synthetic)
        assert row.balanced_accuracy == pytest.approx((1 + row.real_share - row.synthetic_share) / 2)


@pytest.mark.parametrize("counts", [(60, 41, 60, 20), (25, 25, 25, 3), (80, 7, 80, 9)])
def test_d_prime_is_the_slope_of_a_probit_model(counts: tuple[int, int, int, int]) -> None:
    row = discrimination({"A": SingleCounts(*counts)}, confidence=0.9).readers[0]
    trials = counts[0]
    weights = [called + 0.5 for count in (counts[1], counts[3]) for called in (count, trials - count)]
    truth = np.array([[1, 0.5], [1, 0.5], [1, -0.5], [1, -0.5]])
    family = sm.families.Binomial(sm.families.links.Probit())
    fit = sm.GLM(np.array([1, 0, 1, 0]), truth, family, freq_weights=weights).fit(tol=1e-12)
    assert (-row.criterion, row.d_prime) == pytest.approx(tuple(fit.params), abs=1e-6)
    reach = np.diff(fit.conf_int(0.1)[1])[0] / 2
    # The model takes the half answers that are added for seen ones.
    expected = row.d_prime + np.array([-reach, reach]) * np.sqrt((trials + 1) / trials)
    assert row.d_prime_interval == pytest.approx(tuple(expected), rel=1e-4)


def test_a_reader_who_leans_to_an_answer_is_told_from_one_who_tells_images_apart() -> None:
    found = discrimination({"trusts": SingleCounts(50, 48, 50, 48), "sees": SingleCounts(50, 45, 50, 5)})
    trusts, sees = found.readers
    assert (trusts.difference, trusts.p_value, trusts.balanced_accuracy, trusts.d_prime) == (0, 1, 0.5, 0)
    assert trusts.criterion < -1.5
    assert (sees.difference, sees.balanced_accuracy, sees.criterion) == pytest.approx((0.8, 0.9, 0), abs=1e-12)
    assert sees.d_prime == pytest.approx(2.5, abs=0.1)
    assert found.total.p_value < 1e-10


def test_classifications_give_what_their_counts_give(single: Single) -> None:
    real, synthetic = (
        {reader: [True] * row[at + 1] + [False] * (row[at] - row[at + 1]) for reader, row in COUNTS.items()}
        for at in (0, 2)
    )
    found, expected = discrimination(single(real, synthetic)), discrimination(COUNTS)
    assert found.readers == expected.readers
    assert found.frame["accuracy"]["total"] == expected.frame["accuracy"]["total"]
    assert list(found.frame.index) == ["A", "B", "C", "total"]
    assert found.frame.loc["A", "real_low"] == found.readers[0].real_interval[0]


def test_the_total_knows_that_readers_saw_the_same_images(single: Single) -> None:
    rng = np.random.default_rng(0)
    answers = [dict.fromkeys("ABCD", said) for said in (rng.random(30) < 0.7, rng.random(30) < 0.4)]
    found = discrimination(single(*answers))
    alone = discrimination(single(*({"A": answer["A"]} for answer in answers)))
    # Readers who all say the same are as one reader; their shares, taken for independent, are not.
    for name in ("difference", "p_value", "d_prime", "balanced_accuracy"):
        assert getattr(found.total, name) == pytest.approx(getattr(alone.total, name), rel=0.03)
    assert found.total.difference_interval == pytest.approx(alone.total.difference_interval)
    assert found.total.d_prime_interval == pytest.approx(alone.total.d_prime_interval, abs=0.05)
    assert np.diff(found.total.real_interval) < np.diff(alone.total.real_interval)


def test_a_test_that_rests_on_some_images_says_so(single: Single) -> None:
    frame = single({"A": [True] * 4, "B": [True] * 4}, {"A": [False] * 4, "B": [False] * 4}).frame
    seen = ~((frame["reader"] == "B") & frame["image"].isin(["real 2", "real 3"]))
    found = discrimination(SingleClassifications(frame[seen]))
    assert (found.images, found.exchanged) == (8, 6)
    assert "Tests of all readers rest on 6 of 8 images" in str(found)
    assert "rest on" not in str(discrimination(SingleClassifications(frame)))


def test_versions_that_are_pooled_are_told(single: Single) -> None:
    both = single({"A": [True] * 4}, {"A": [True] * 4}, versions=("old", "new"))
    assert "Pools the versions new, old of the model" in str(discrimination(both))
    assert "Pools" not in str(discrimination(both.of_version("old")))


def test_a_reader_who_saw_one_kind_has_no_figures_of_a_difference() -> None:
    found = discrimination({**COUNTS, "half": SingleCounts(10, 3, 0, 0), "nobody": SingleCounts(0, 0, 0, 0)})
    half, nobody = found.readers[3:]
    assert (half.real_share, half.accuracy, half.difference_interval) == (0.3, 0.3, (-1, 1))
    assert np.isnan([half.difference, half.p_value, half.d_prime, nobody.real_share, nobody.accuracy]).all()
    assert found.readers[:3] == discrimination(COUNTS).readers
    assert "nobody     0            -" in str(found)


def test_equivalence_has_the_same_margin_as_of_pairs() -> None:
    counts = {
        "A": SingleCounts(400, 200, 400, 190),
        "B": SingleCounts(400, 350, 400, 100),
        "C": SingleCounts(9, 4, 0, 0),
    }
    found = equivalence(counts, margin=0.1)
    assert [row.equivalent for row in found.readers] == [True, False, False]
    a = found.readers[0]
    assert a.p == pytest.approx(0.5 - (200 - 190) / 400 / 2)
    low, high = confint_proportions_2indep(190, 400, 200, 400, method="newcomb", alpha=0.1)
    assert a.interval == pytest.approx(((1 + low) / 2, (1 + high) / 2))
    # As surely as of pairs of which the same share is incorrect: half the images, each of them with both.
    pairs = equivalence({"A": (205, 195)}, margin=0.1).readers[0]
    assert a.p == pytest.approx(pairs.p)
    assert found.all_readers_p_value == max(row.p_value for row in found.readers[:2])
    assert "Two one-sided tests (Newcombe) that p lies between 0.4 and 0.6" in str(found)
    assert (a.count, found.total.count) == (800, 1600)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "there are no classifications"),
        (
            {"A": SingleCounts(5, 2, 0, 0), "B": SingleCounts(0, 0, 5, 2)},
            "no reader saw both real and synthetic images",
        ),
        ({"A": SingleCounts(5, 6, 5, 1)}, "reader 'A' called more images real than there are"),
        ({"A": SingleCounts(5, -1, 5, 1)}, "reader 'A': real_called_real is -1, wanted a whole number"),
        ({"A": (5, 1)}, r"reader 'A' has the counts \(5, 1\)"),
    ],
)
def test_what_makes_no_sense_is_one_line(counts: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(StudyError, match=message):
        discrimination(counts)


def test_pairs_are_not_single_images(from_answers: Callable[..., Classifications]) -> None:
    with pytest.raises(StudyError, match="classifications of pairs, wanted single images: see realism"):
        discrimination(from_answers({"A": [True]}))  # type: ignore[arg-type]
