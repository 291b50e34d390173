from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, mannwhitneyu

from pfid import (
    ClassifierConfig,
    ClassifierTest,
    ImageError,
    Images,
    PfidError,
    WorkProgress,
    array_images,
    classifier_two_sample_test,
    extreme_images_picture,
    image_group,
)
from pfid.two_sample.statistics import accuracy_interval, area_under_curve, assign_folds, sign_flip_p_value

SHORT = ClassifierConfig(crop_px=16, steps=25, batch_size=8)
SHORTEST = replace(SHORT, steps=1)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaded(seed: int, grain: float = 1, side: int = 24) -> NDArray[np.uint8]:
    """An even slope of brightness of a random colour, with grain of so many grey levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    slope = rng.uniform(90, 160, 3) + rng.uniform(-30, 30, 3) * y[..., None] + rng.uniform(-30, 30, 3) * x[..., None]
    return (slope + grain * rng.normal(size=slope.shape)).round().astype(np.uint8)


def side_of(first: int, count: int, grain: float = 1, prefix: str = "{}") -> Images:
    return array_images({prefix.format(seed): shaded(seed, grain) for seed in range(first, first + count)})


def run_test(real: Images, fake: Images, **options: Any) -> ClassifierTest:
    work = classifier_two_sample_test(real=real, fake=fake, **options)
    progress = list(work)
    assert all(isinstance(event, WorkProgress) for event in progress)
    assert [event.done for event in progress] == list(range(1, progress[-1].total + 1))
    return work.result()


@pytest.fixture(scope="module")
def grainy() -> ClassifierTest:
    return classifier_two_sample_test(real=side_of(0, 30), fake=side_of(100, 30, 4), config=SHORT, folds=2).result()


def test_images_of_one_distribution_are_not_told_apart() -> None:
    found = run_test(side_of(0, 30), side_of(100, 30), config=SHORT, folds=2)
    low, high = found.accuracy.interval
    assert low < 0.5 < high
    assert found.p_value > 0.05
    assert 0.3 < found.area.value < 0.7


def test_slight_grain_is_seen_in_images_that_no_network_was_trained_on(grainy: ClassifierTest) -> None:
    assert grainy.accuracy.value > 0.9
    assert grainy.accuracy.interval[0] > 0.8
    assert grainy.p_value < 1e-6
    assert grainy.area.value > 0.98
    assert [image.name for image in grainy.images] == [str(seed) for seed in (*range(30), *range(100, 130))]
    assert "crops of 16 px" in str(grainy.accuracy)
    assert "2 folds over 60 groups" in str(grainy.accuracy)
    realness = [image.realness for image in grainy.most_fake(30)]
    assert realness == sorted(realness)
    assert grainy.most_real(30) == grainy.most_fake(30)[::-1]


def test_the_seed_decides_and_the_global_one_is_left_alone() -> None:
    sides = side_of(0, 10), side_of(100, 10)
    state = torch.random.get_rng_state()
    found = [run_test(*sides, config=replace(SHORT, steps=3), folds=2, seed=seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_groups_are_never_split_between_training_and_test() -> None:
    real = array_images({f"slide {n % 3}/{n}.png": shaded(n) for n in range(10)})
    fake = array_images({f"slide {n % 4}/deep/{n}.png": shaded(100 + n) for n in range(12)})
    found = run_test(real, fake, config=SHORTEST)
    assert len(found.images) == 20
    groups = {image.group for image in found.images}
    assert groups >= {"slide 0", "slide 1", "slide 2"}
    assert all(len({image.fold for image in found.images if image.group == group}) == 1 for group in groups)
    assert {image.fold for image in found.images} == {0, 1, 2}
    assert "generated: 2 of 12 images left out at random, for equal numbers" in found.accuracy.note
    pairs = run_test(side_of(0, 10, prefix="{}.png"), side_of(0, 10, 5, prefix="{}.jpg"), config=SHORTEST)
    assert all(left.fold == right.fold for left, right in zip(pairs.images[:10], pairs.images[10:], strict=True))
    by_tens = run_test(side_of(0, 20), side_of(0, 20, 5), config=SHORTEST, group=lambda name: str(int(name) // 10))
    assert {image.fold for image in by_tens.images} == {0, 1}


def test_names_give_groups() -> None:
    assert [image_group(name) for name in ("a.png", "s/a.png", "s/deep/a.png")] == ["a", "s", "s"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1), (3, 2)]), min_size=1, max_size=40), st.integers(0, 9))
def test_folds_are_balanced(counts: list[tuple[int, int]], seed: int) -> None:
    real, fake = np.array(counts).T
    folds = assign_folds(real, fake, 3, np.random.default_rng(seed))
    assert set(folds) <= {0, 1, 2}
    loads = np.bincount(folds, real + fake, minlength=3)
    assert loads.max() - loads.min() <= 2 * max(map(sum, counts))


def test_the_p_value_of_single_images_is_that_of_the_binomial_test() -> None:
    correct = np.arange(40) < 27
    expected = binomtest(27, 40, alternative="greater").pvalue
    assert sign_flip_p_value(correct, np.arange(40)) == pytest.approx(expected)
    # copies of each image add nothing
    assert sign_flip_p_value(correct.repeat(5), np.arange(40).repeat(5)) == pytest.approx(expected)
    assert sign_flip_p_value(np.ones(12, np.bool_), np.arange(12) // 4) == pytest.approx(1 / 8)
    assert sign_flip_p_value(np.arange(12) % 2 == 0, np.arange(12) // 4) == 1


def test_the_p_value_is_that_of_all_exchanges() -> None:
    rng = np.random.default_rng(0)
    groups, correct = rng.integers(8, size=30), rng.random(30) < 0.7
    surplus = np.array([(2 * correct[groups == group] - 1).sum() for group in range(8)])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    assert sign_flip_p_value(correct, groups) == pytest.approx((surplus @ signs >= surplus.sum()).mean())


def test_the_interval_is_wider_for_images_that_come_in_groups() -> None:
    rng, real = np.random.default_rng(0), np.arange(80) % 2 == 0
    correct = (np.arange(80) // 10) < 5
    alone = accuracy_interval(correct, real, np.arange(80), 300, rng)
    grouped = accuracy_interval(correct, real, np.arange(80) // 10, 300, rng)
    assert grouped[0] < alone[0] < correct.mean() < alone[1] < grouped[1]
    assert accuracy_interval(np.ones(80, np.bool_), real, np.arange(80), 10, rng) == (0.025 ** (1 / 80), 1)
    assert accuracy_interval(np.zeros(80, np.bool_), real, np.arange(80), 10, rng)[0] == 0


def test_the_area_compares_images_of_one_fold() -> None:
    rng = np.random.default_rng(0)
    realness, real = rng.random(40).round(1), rng.random(40) < 0.5
    statistic = mannwhitneyu(realness[real], realness[~real]).statistic
    one = area_under_curve(realness, real, np.zeros(40, np.int64))
    assert one == pytest.approx(statistic / (real.sum() * (~real).sum()))
    folds = np.repeat([0, 1], 40)
    assert area_under_curve(np.concatenate([realness, realness + 9]), np.tile(real, 2), folds) == pytest.approx(one)


def test_the_picture_shows_generated_images_once(grainy: ClassifierTest) -> None:
    picture = extreme_images_picture(grainy, fake=side_of(100, 30, 4), count=20, across=5, image_px=30)
    assert picture.shape == (2 * (20 + 3 * 70) + 8, 5 * 38 + 8, 3)
    assert picture.min() < 100


def test_bad_input_is_refused() -> None:
    ten, other = side_of(0, 10), side_of(100, 10)
    mixed = array_images({"small": shaded(7, side=12), **{str(n): shaded(n) for n in range(100, 110)}})
    one_slide = side_of(100, 10, prefix="slide/{}")
    for real, fake, words, change in (
        (ten, side_of(100, 9), "10 real and 9 generated images: .* takes 10 or more", {}),
        (ten, side_of(9, 10), r"1 images are on both sides \(real 9 is generated 9\)", {}),
        (ten, mixed, r"1 of 20 images are smaller than the crop of 16 px \(generated small\)", {}),
        (ten, other, r"20 of 20 images are smaller than the crop of 99 px .* smaller crop", {"crop_px": 99}),
        (ten, one_slide, "all generated images are of one group", {}),
    ):
        with pytest.raises(ImageError, match=words):
            run_test(real, fake, config=replace(SHORTEST, **change))
    twice = array_images([*(shaded(n) for n in range(10)), shaded(0)])
    found = run_test(twice, other, config=SHORTEST, folds=2)
    assert "real: 1 images repeat another one: left out" in found.accuracy.note
    for change in ({"crop_px": 8}, {"steps": 0}, {"batch_size": 5}, {"learning_rate": float("nan")}):
        with pytest.raises(PfidError, match=next(iter(change))):
            ClassifierConfig(**change)
    with pytest.raises(PfidError, match="folds"):
        run_test(ten, other, folds=1)
