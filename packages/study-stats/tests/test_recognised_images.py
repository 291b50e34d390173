from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact
from statsmodels.stats.multitest import multipletests

from study_stats import Classifications, SingleClassifications, StudyError, recognised_images

Simulate: TypeAlias = Callable[..., Classifications]


def test_an_image_that_all_see_through_comes_first(from_answers: Callable[..., Classifications]) -> None:
    rng = np.random.default_rng(0)
    answers = {f"reader {number}": [*(rng.random(9) < 0.4), True] for number in range(12)}
    found = recognised_images(from_answers(answers))
    first = found.frame.iloc[0]
    assert found.frame.index[0] == "synthetic 9"
    assert (first["count"], first["recognised"], first["share"]) == (12, 12, 1)
    assert found.significant == 1
    assert "1 of 10 images are recognised more often than by guessing" in str(found)
    assert len(str(found).splitlines()) == 12


def test_tests_and_intervals_are_those_of_scipy_for_as_many_images_as_there_are(simulate: Simulate) -> None:
    frame = recognised_images(simulate(np.random.default_rng(1), readers=9, images=20, image_sd=1)).frame
    pairs = list(zip(frame["recognised"], frame["count"], strict=True))
    tests = [binomtest(k, n, alternative="greater") for k, n in pairs]
    assert frame["p_value"].tolist() == pytest.approx([test.pvalue for test in tests])
    corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
    assert frame["p_value_corrected"].tolist() == pytest.approx(corrected)
    for (k, n), low, high in zip(pairs, frame["low"], frame["high"], strict=True):
        expected = binomtest(k, n).proportion_ci(1 - 0.05 / 20)
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_of_images_that_none_sees_through_hardly_ever_one_stands_out(simulate: Simulate) -> None:
    rng = np.random.default_rng(2)
    found = [recognised_images(simulate(rng, readers=10, images=10)).significant > 0 for _ in range(20)]
    assert sum(found) <= 2


def test_nothing_to_rank(from_answers: Callable[..., Classifications]) -> None:
    with pytest.raises(StudyError, match="there are no classifications"):
        recognised_images(from_answers({}))


def test_of_single_images_a_reader_who_calls_all_synthetic_finds_out_none(
    single: Callable[..., SingleClassifications],
) -> None:
    readers = [f"reader {number}" for number in range(8)]
    suspicious = {reader: [False] * 9 + [True] for reader in readers}
    found = recognised_images(single(suspicious, suspicious))
    assert found.frame["share"].max() == 1
    assert found.significant == 0
    trusting = {reader: [True] * 10 for reader in readers}
    found = recognised_images(single(trusting, suspicious))
    assert found.significant == 9
    assert "9 of 10 images are recognised more often than real ones are taken for synthetic" in str(found)


def test_of_single_images_one_reader_is_tested_by_fisher(single: Callable[..., SingleClassifications]) -> None:
    found = recognised_images(single({"A": [True] * 17 + [False] * 3}, {"A": [False, True]}))
    expected = [fisher_exact([[hit, 1 - hit], [3, 17]], "greater").pvalue for hit in (1, 0)]
    assert found.frame["p_value"].tolist() == pytest.approx(expected)
    for real, synthetic in (({}, {"A": [True]}), ({"A": [True]}, {})):
        with pytest.raises(StudyError, match="no classifications of both real and synthetic images"):
            recognised_images(single(real, synthetic))
