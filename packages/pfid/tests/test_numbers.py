"""Numbers that are missing or not finite are refused at every door, whatever their type, in one line."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pfid import (
    FeatureStatistics,
    MetricValue,
    PfidError,
    WhiteRule,
    array_images,
    frechet_distance,
    kid,
    memorisation,
    plan_crops,
    prdc,
)

FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
FEATURES = np.random.default_rng(0).normal(size=(30, 4))
IMAGES = array_images(np.zeros((2, 32, 32, 3), np.uint8))
NO_NUMBERS = [
    None,
    "2",
    *(kind(value) for kind in (float, *FLOATS) for value in ("nan", "inf")),
]
DOORS: list[Callable[[Any], object]] = [
    lambda x: prdc(real=FEATURES, fake=FEATURES, k=x),
    lambda x: kid(real=FEATURES, fake=FEATURES, generator=np.random.default_rng(0), subsets=x, subset_size=9),
    lambda x: kid(real=FEATURES, fake=FEATURES, generator=np.random.default_rng(0), subset_size=x),
    lambda x: memorisation(train=FEATURES, fake=FEATURES, quantile=x),
    lambda x: MetricValue("FID", x, "extractor", "none", 30, 30),
    lambda x: MetricValue("FID", 1.0, "extractor", "none", 30, 30, interval=(0.5, x)),
    lambda x: WhiteRule(share=x),
    lambda x: plan_crops(real=IMAGES, fake=IMAGES, count=x, patch_px=8),
    lambda x: plan_crops(real=IMAGES, fake=IMAGES, count=4, patch_px=x),
    lambda x: plan_crops(real=IMAGES, fake=IMAGES, count=4, patch_px=8, size_max=x),
]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("door", range(len(DOORS)))
def test_what_is_no_number_is_refused(door: int, number: Any) -> None:
    with pytest.raises(PfidError) as caught:
        DOORS[door](number)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize(
    "measure",
    [
        lambda real, fake: frechet_distance(real=real, fake=fake),
        lambda real, fake: prdc(real=real, fake=fake),
        lambda real, fake: kid(real=real, fake=fake, generator=np.random.default_rng(0), subset_size=9),
        lambda real, fake: memorisation(train=real, fake=fake),
        lambda real, _: FeatureStatistics.of(real),
    ],
)
def test_features_that_are_not_finite_are_counted(measure: Callable[..., object], kind: Any, value: str) -> None:
    features = FEATURES.astype(kind)
    features[7, 2] = kind(value)
    with pytest.raises(PfidError, match="1 values that are not finite, in 1 of 30 images"):
        measure(features, FEATURES)


def test_features_in_half_precision_are_measured_in_double() -> None:
    half = FEATURES.astype(np.float16)
    measured = frechet_distance(real=half, fake=FEATURES[::-1])
    assert measured == pytest.approx(frechet_distance(real=half.astype(np.float64), fake=FEATURES[::-1]))


def test_figures_of_numpys_numbers_are_written_and_read() -> None:
    figure = MetricValue("FID", np.float32(1.5), "extractor", "none", 30, 30, interval=(np.float16(1), np.float64(2)))
    assert json.loads(figure.to_json())["value"] == 1.5
    assert MetricValue.from_json(figure.to_json()) == figure
