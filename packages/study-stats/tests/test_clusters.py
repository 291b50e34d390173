from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from study_stats import Classifications, SingleClassifications, StudyError, cluster_bootstrap

Simulate: TypeAlias = Callable[..., Classifications]
FromAnswers: TypeAlias = Callable[..., Classifications]


def test_it_draws_readers_and_images_and_counts_a_classification_by_both(simulate: Simulate) -> None:
    study = simulate(np.random.default_rng(3), readers=4, images=6, reader_sd=1, image_sd=1)
    frame = study.frame.assign(wrong=~study.frame["correct"])
    table = frame.pivot_table(index="reader", columns="synthetic_image", values="wrong", aggfunc="sum").to_numpy(float)
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(3000):
        drawn = table[rng.integers(0, 4, 4)][:, rng.integers(0, 6, 6)]
        shares.append(drawn.mean())
    found = cluster_bootstrap(study, rng=np.random.default_rng(1))
    assert found.p == pytest.approx(table.mean())
    assert found.standard_error == pytest.approx(np.std(shares), rel=0.05)
    assert (found.readers, found.images, found.resamples, found.empty_resamples) == (4, 6, 10_000, 0)


def test_the_same_generator_gives_the_same_interval(simulate: Simulate) -> None:
    study = simulate(np.random.default_rng(3))
    first, second = (cluster_bootstrap(study, rng=np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_intervals_cover_though_readers_are_few(simulate: Simulate) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        study = simulate(rng, readers=5, images=25, reader_sd=0.7, image_sd=0.5)
        low, high = cluster_bootstrap(study, rng=rng, resamples=300).interval
        covered += low <= 0.5 <= high  # of log-odds that are even about 0
    assert covered >= 37


def test_readers_who_differ_make_the_pooled_share_less_sure(simulate: Simulate) -> None:
    alike, unlike = (
        cluster_bootstrap(simulate(np.random.default_rng(0), readers=12, reader_sd=sd), rng=np.random.default_rng(1))
        for sd in (0, 1.5)
    )
    assert alike.design_effect < 4
    assert unlike.design_effect > 2 * alike.design_effect
    assert "times the variance of independent classifications" in str(unlike)


def test_resamples_without_an_answer_are_left_out_and_counted(from_answers: FromAnswers) -> None:
    study = from_answers({"A": [True, False], "B": [True, False]})
    frame = study.frame.iloc[[0, 3]]  # A saw one pair, B the other
    found = cluster_bootstrap(Classifications(frame), rng=np.random.default_rng(0), resamples=400)
    assert found.resamples + found.empty_resamples == 400
    assert 10 < found.empty_resamples < 100  # one in eight
    assert f"{found.empty_resamples} empty ones left out" in str(found)


def test_what_is_too_little(from_answers: FromAnswers) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(StudyError, match="1 readers and 2 images"):
        cluster_bootstrap(from_answers({"A": [True, False]}), rng=rng)
    with pytest.raises(StudyError, match="0 readers and 0 images"):
        cluster_bootstrap(from_answers({}), rng=rng)
    with pytest.raises(StudyError, match="all classifications are alike"):
        cluster_bootstrap(from_answers({"A": [True, True], "B": [True, True]}), rng=rng)
    with pytest.raises(StudyError, match="number of resamples is 99, wanted a whole number of 100 or more"):
        cluster_bootstrap(from_answers({"A": [True, False], "B": [True, True]}), rng=rng, resamples=99)


def test_of_single_images_real_and_synthetic_ones_are_drawn_each_on_their_own(
    single: Callable[..., SingleClassifications],
) -> None:
    rng = np.random.default_rng(5)
    real, synthetic = rng.random((4, 9)) < 0.8, rng.random((4, 15)) < rng.random((4, 1))
    study = single(dict(zip("ABCD", real, strict=True)), dict(zip("ABCD", synthetic, strict=True)))
    shares = []
    for _ in range(3000):
        readers = rng.integers(0, 4, 4)
        wrong = (~real[readers][:, rng.integers(0, 9, 9)], synthetic[readers][:, rng.integers(0, 15, 15)])
        shares.append(np.mean([kind.mean() for kind in wrong]))
    found = cluster_bootstrap(study, rng=rng)
    assert found.p == pytest.approx(((~real).mean() + synthetic.mean()) / 2)
    assert found.standard_error == pytest.approx(np.std(shares), rel=0.05)
    assert (found.readers, found.images) == (4, 24)
    with pytest.raises(StudyError, match="4 readers and 15 synthetic and 0 real images"):
        cluster_bootstrap(single({}, dict(zip("ABCD", synthetic, strict=True))), rng=rng)


def test_readers_who_call_everything_real_show_no_spread(single: Callable[..., SingleClassifications]) -> None:
    always = {"A": [True] * 5, "B": [True] * 5}
    with pytest.raises(StudyError, match="all classifications are alike"):
        cluster_bootstrap(single(always, always), rng=np.random.default_rng(0))
