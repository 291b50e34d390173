"""The colours and limits of tissue rules against scikit-image."""

import numpy as np
import pytest
import skimage.color
import skimage.filters
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_tiling import TissueRule, resolve_rule, tissue_mask
from wsi_tiling.region import Colour
from wsi_tiling.tissue.rule import hue_saturation_value

PURPLE, GLASS = (110, 60, 150), (242, 243, 242)


@pytest.mark.parametrize("glass", [(242, 243, 242), (255, 255, 255), (200, 0, 250)])
def test_hue_saturation_and_value_are_those_of_scikit_image_to_the_bit(glass: Colour) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (90, 200, 3), np.uint8)
    image[:20] = random.integers(0, 3, (20, 200, 3))  # channels that are equal, and black
    image[20:30] = image[20:30, :, :1]
    image[30:32] = glass
    expected = skimage.color.rgb2hsv(image / np.asarray(glass, np.float32).clip(1))
    for channel, actual in enumerate(hue_saturation_value(image, glass)):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected[..., channel])


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_otsus_limit_is_that_of_scikit_image(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    stained = random.random((60, 80)) < share
    image = np.where(stained[..., None], PURPLE, GLASS) + random.integers(-12, 13, (60, 80, 1))
    image[..., 1] -= random.integers(0, 6, (60, 80))
    image = image.clip(0, 255).astype(np.uint8)
    saturation = (image.max(axis=2) - image.min(axis=2)).astype(np.float32) / image.max(axis=2)
    counts, edges = np.histogram(saturation, bins=256, range=(0, 1))
    expected = skimage.filters.threshold_otsu(hist=(counts, (edges[1:] + edges[:-1]) / 2))
    unresolved, white = TissueRule(kind="otsu", min_hue=-1, min_saturation=0), (255, 255, 255)
    resolved = resolve_rule(unresolved, image, white)
    assert resolved.kind == "limits"
    assert resolved.min_saturation == pytest.approx(expected)
    masks = [tissue_mask(image, rule, background=white) for rule in (unresolved, resolved)]
    np.testing.assert_array_equal(*masks)
