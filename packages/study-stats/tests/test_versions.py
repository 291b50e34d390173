from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from study_stats import Classifications, SingleClassifications, StudyError, compare_versions, realism

FromAnswers: TypeAlias = Callable[..., Classifications]


def of_versions(study: Classifications, versions: list[str]) -> Classifications:
    """The same study, its images by turns of these versions."""
    number = study.frame["synthetic_image"].str.split().str[1].astype(int)
    return Classifications(study.frame.assign(model_version=[versions[n % len(versions)] for n in number]))


def test_one_reader_is_compared_as_scipy_and_statsmodels_do(from_answers: FromAnswers) -> None:
    correct = np.random.default_rng(0).random(90) < np.tile([0.9, 0.3, 0.6], 30)
    found = compare_versions(of_versions(from_answers({"A": correct}), ["a", "b", "c"]))
    wrong = {version: int((~correct[at::3]).sum()) for at, version in enumerate("abc")}
    assert [(row.version, row.taken_for_real, row.count) for row in found.versions] == [
        (version, count / 30, 30) for version, count in wrong.items()
    ]
    assert [(row.first, row.second) for row in found.differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    p_values = []
    for row in found.differences:
        first, second = wrong[row.first], wrong[row.second]
        p_values.append(fisher_exact([[first, 30 - first], [second, 30 - second]]).pvalue)
        newcombe = confint_proportions_2indep(second, 30, first, 30, method="newcomb", alpha=0.05 / 3)
        assert row.difference == pytest.approx((second - first) / 30)
        assert row.interval == pytest.approx(newcombe)
    assert [row.p_value for row in found.differences] == pytest.approx(p_values)
    corrected = multipletests(p_values, method="holm")[1]
    assert found.frame["p_value_corrected"].tolist() == pytest.approx(corrected)


def test_a_reader_who_saw_more_of_one_version_does_not_make_it_better(from_answers: FromAnswers) -> None:
    # A is fooled four times in five and saw the new version most; B hardly ever, and saw the old one most.
    study = from_answers({"A": [False] * 8 + [True] * 2 + [False] * 32 + [True] * 8, "B": [True] * 50})
    frame = study.frame
    number = frame["synthetic_image"].str.split().str[1].astype(int)
    old = np.where(frame["reader"] == "A", number < 10, number < 40)
    study = Classifications(
        frame.assign(
            model_version=np.where(old, "old", "new"),
            synthetic_image=frame["synthetic_image"] + " " + frame["reader"],
        )
    )
    found = compare_versions(study)
    new, older = found.versions
    assert new.taken_for_real - older.taken_for_real > 0.4
    assert found.differences[0].difference == pytest.approx(0)
    assert found.differences[0].p_value == pytest.approx(1)


def test_a_version_that_fools_more_is_found_by_readers_who_differ(simulate: Callable[..., Classifications]) -> None:
    rng = np.random.default_rng(1)
    study = of_versions(simulate(rng, readers=4, images=120, reader_sd=1, image_sd=0.5), ["new", "old"])
    alike = compare_versions(study).differences[0]
    assert alike.p_value > 0.05
    assert alike.interval[0] < 0 < alike.interval[1]
    frame = study.frame
    seen_through = (frame["model_version"] == "old") & (rng.random(len(frame)) < 0.4)
    found = compare_versions(Classifications(frame.assign(correct=frame["correct"] | seen_through)))
    assert found.differences[0].interval[1] < 0
    assert found.differences[0].p_value < 0.01
    lines = str(found).splitlines()
    assert (lines[4].split()[0], lines[5].split()[:3]) == ("versions", ["old", "-", "new"])
    assert "rest on" not in str(found)


def test_versions_may_use_the_same_names_of_images(from_answers: FromAnswers) -> None:
    study = of_versions(from_answers({"A": [True, False] * 20, "B": [False, False] * 20}), ["a", "b"])
    number = study.frame["synthetic_image"].str.split().str[1].astype(int) // 2
    same = Classifications(study.frame.assign(synthetic_image=[f"{n}.png" for n in number]))
    assert compare_versions(same).differences == compare_versions(study).differences


def test_single_images_are_compared_by_their_synthetic_ones(
    single: Callable[..., SingleClassifications], from_answers: FromAnswers
) -> None:
    fooled = dict(zip("AB", np.random.default_rng(2).random((2, 40)) < 0.4, strict=True))
    study = single(dict.fromkeys("AB", [True] * 5), fooled, versions=("a", "b"))
    pairs = of_versions(from_answers({reader: ~answers for reader, answers in fooled.items()}), ["a", "b"])
    assert compare_versions(study) == compare_versions(pairs)


def test_versions_that_no_reader_saw_both_of_have_no_difference(from_answers: FromAnswers) -> None:
    frame = from_answers({"A": [True, False] * 9, "B": [False] * 18}).frame
    study = Classifications(frame.assign(model_version=frame["reader"].map({"A": "a", "B": "b"})))
    row = compare_versions(study).differences[0]
    assert np.isnan([row.difference, row.p_value, row.p_value_corrected]).all()
    assert row.interval == (-1, 1)
    with pytest.raises(StudyError, match=r"1 versions of the model \(a\): wanted two to compare"):
        compare_versions(study.of_version("a"))


def test_realism_says_that_it_pools_versions(from_answers: FromAnswers) -> None:
    study = of_versions(from_answers({"A": [True, False] * 9}), ["2026-05", "2026-06"])
    note = "Pools the versions 2026-05, 2026-06 of the model: see of_version and compare_versions."
    assert str(realism(study)).splitlines()[-1] == note
    assert "Pools" not in str(realism(study.of_version("2026-05")))
