from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from study_stats import Classifications, SingleClassifications, StudyError, agreement

FromAnswers: TypeAlias = Callable[..., Classifications]


def test_the_example_of_krippendorff(from_answers: FromAnswers) -> None:
    """Two observers and ten units of Krippendorff 2011, section A, where alpha is 0.095."""
    answers = {"A": map(int, "0100000010"), "B": map(int, "1110010000")}
    found = agreement(from_answers(answers), rng=np.random.default_rng(0))
    assert found.alpha == pytest.approx(0.095, abs=5e-4)
    assert found.observed == pytest.approx(0.6)
    assert (found.pairs, found.pairs_of_all, found.readers) == (10, 10, 2)
    assert found.interval[0] < found.alpha < found.interval[1]


@pytest.mark.parametrize("readers", [2, 3, 6])
def test_kappa_is_that_of_statsmodels(from_answers: FromAnswers, readers: int) -> None:
    answers = np.random.default_rng(readers).random((readers, 40)) < 0.4
    found = agreement(from_answers(dict(zip("ABCDEF", answers, strict=False))), rng=np.random.default_rng(0))
    right = answers.sum(0)
    kappa = fleiss_kappa(np.stack([right, readers - right], axis=1))
    assert found.kappa == pytest.approx(kappa)
    # Alpha corrects for the number of answers: the two are tied where all readers saw all pairs.
    assert found.alpha == pytest.approx(kappa + (1 - kappa) / (readers * 40))


def test_alpha_takes_pairs_that_some_saw(from_answers: FromAnswers) -> None:
    frame = from_answers({"A": [True, False, True], "B": [True, False, False], "C": [True, True, True]}).frame
    study = Classifications(frame.drop(index=[7, 8]))  # C saw the first pair only
    found = agreement(study, rng=np.random.default_rng(0))
    assert (found.pairs, found.pairs_of_all) == (3, 1)
    # By hand: of 7 answers 4 are correct; the only unlike ones are those on the third pair.
    assert found.alpha == pytest.approx(1 - (2 / 7) / (2 * 4 * 3 / (7 * 6)))
    assert found.observed == pytest.approx(4 / 5)


def test_readers_who_guess_agree_by_chance_and_copies_always(from_answers: FromAnswers) -> None:
    guesses = np.random.default_rng(1).random((4, 300)) < 0.5
    found = agreement(from_answers(dict(zip("ABCD", guesses, strict=True))), rng=np.random.default_rng(0))
    assert found.interval[0] < 0 < found.interval[1]
    assert abs(found.alpha) < 0.06
    copies = agreement(from_answers({"A": guesses[0], "B": guesses[0]}), rng=np.random.default_rng(0))
    assert (copies.alpha, copies.kappa, copies.observed) == pytest.approx((1, 1, 1))


def test_intervals_cover(from_answers: FromAnswers) -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(40):
        shares = rng.beta(1, 1, 60)  # two readers then agree with an alpha of 1/3
        answers = rng.random((2, 60)) < shares
        low, high = agreement(from_answers({"A": answers[0], "B": answers[1]}), rng=rng, resamples=300).interval
        covered += low <= 1 / 3 <= high
    assert covered >= 34


def test_alike_answers_have_no_coefficient(from_answers: FromAnswers) -> None:
    found = agreement(from_answers({"A": [True] * 3, "B": [True] * 3}), rng=np.random.default_rng(0))
    assert np.isnan([found.alpha, found.kappa, *found.interval]).all()
    assert found.observed == 1


def test_a_reader_counts_once_on_a_pair(from_answers: FromAnswers) -> None:
    frame = from_answers({"A": [True, False], "B": [True, True]}).frame
    later = frame.iloc[:2].assign(correct=[False, True])
    for column in ("time_shown", "time_answered"):
        later[column] = later[column].dt.tz_convert("UTC") + np.timedelta64(1, "h")
    again = Classifications(type(frame)({name: [*frame[name], *later[name]] for name in frame}))
    once = agreement(Classifications(frame), rng=np.random.default_rng(0))
    assert agreement(again, rng=np.random.default_rng(0)) == once


def test_without_shared_pairs_there_is_no_agreement(from_answers: FromAnswers) -> None:
    with pytest.raises(StudyError, match="no pair was seen by two readers"):
        agreement(from_answers({"A": [True, False]}), rng=np.random.default_rng(0))


def test_of_single_images_readers_agree_on_what_they_call_them(single: Callable[..., SingleClassifications]) -> None:
    rng = np.random.default_rng(6)
    real, synthetic = rng.random((3, 20)) < 0.7, rng.random((3, 20)) < 0.5
    study = single(dict(zip("ABC", real, strict=True)), dict(zip("ABC", synthetic, strict=True)))
    found = agreement(study, rng=rng)
    said = np.concatenate([real, synthetic], axis=1).sum(0)
    assert found.kappa == pytest.approx(fleiss_kappa(np.stack([said, 3 - said], axis=1)))
    assert "40 images that all 3 readers saw" in str(found)
    with pytest.raises(StudyError, match="no image was seen by two readers"):
        agreement(single({"A": [True]}, {}), rng=rng)
