from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from study_stats import Classifications, StudyError, mixed_model

Simulate: TypeAlias = Callable[..., Classifications]


def test_it_finds_what_a_study_was_made_with(simulate: Simulate) -> None:
    study = simulate(np.random.default_rng(0), readers=25, images=50, log_odds=-0.6, reader_sd=1.0, image_sd=0.5)
    found = mixed_model(study)
    assert found.reader_sd == pytest.approx(1.0, abs=0.35)
    assert found.image_sd == pytest.approx(0.5, abs=0.25)
    grid = norm.ppf((np.arange(2000) + 0.5) / 2000)
    assert found.interval[0] < expit(-0.6 + np.hypot(1, 0.5) * grid).mean() < found.interval[1]
    # With this many readers, the common value is as sure as the mean of so many normal ones.
    assert found.standard_error == pytest.approx(np.hypot(found.reader_sd / 5, found.image_sd / 50**0.5), rel=0.2)


def test_its_share_is_the_average_over_readers_and_images_like_these(simulate: Simulate) -> None:
    found = mixed_model(simulate(np.random.default_rng(1), log_odds=1.0, reader_sd=0.8, image_sd=0.4))
    grid = norm.ppf((np.arange(4000) + 0.5) / 4000)
    spread = np.hypot(found.reader_sd, found.image_sd)
    assert found.p == pytest.approx(expit(found.log_odds + spread * grid).mean(), abs=1e-4)


def test_intervals_cover_though_readers_are_few(simulate: Simulate) -> None:
    rng = np.random.default_rng(0)
    found = [mixed_model(simulate(rng, readers=5, images=25, reader_sd=0.7, image_sd=0.5)).interval for _ in range(12)]
    assert sum(low <= 0.5 <= high for low, high in found) >= 11


def test_who_is_right_half_the_time_less_is_wrong_half_the_time_more(simulate: Simulate) -> None:
    study = simulate(np.random.default_rng(2), log_odds=0.7, reader_sd=0.5, images=30)
    turned = Classifications(study.frame.assign(correct=~study.frame["correct"]))
    found, other = mixed_model(study), mixed_model(turned)
    assert other.p == pytest.approx(1 - found.p, abs=2e-3)
    assert other.interval == pytest.approx((1 - found.interval[1], 1 - found.interval[0]), abs=5e-3)
    assert "by a mixed model of 5 readers and 30 images" in str(found)


def test_a_fit_does_not_depend_on_chance(simulate: Simulate) -> None:
    study = simulate(np.random.default_rng(2), images=20)
    assert mixed_model(study) == mixed_model(study)


def test_what_is_too_little(from_answers: Callable[..., Classifications]) -> None:
    with pytest.raises(StudyError, match="1 readers and 2 images"):
        mixed_model(from_answers({"A": [True, False]}))
    with pytest.raises(StudyError, match="all classifications are alike"):
        mixed_model(from_answers({"A": [False, False], "B": [False, False]}))
    with pytest.raises(StudyError, match="0 readers"):
        mixed_model(from_answers({}))
