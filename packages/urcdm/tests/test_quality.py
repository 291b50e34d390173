import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from urcdm import coherence, seam, sharpness
from urcdm.results.picture_quality import CoherenceSum, StepSum


def texture(side: int, sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth and random, in three colours, all of it dark enough for tissue."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (sigma, sigma, 0))
    return np.clip(110 + 25 * noise / noise.std(), 0, 190).astype(np.uint8)


def test_sharpness_of_a_striped_picture_is_the_height_of_its_steps() -> None:
    stripes = np.where(np.arange(64) // 4 % 2, 100, 140).astype(np.uint8)
    image = np.broadcast_to(stripes[None, :, None], (32, 64, 3))
    assert sharpness(image) == pytest.approx(40 * 15 / 63)
    with pytest.raises(ValueError, match="no tissue"):
        sharpness(np.full((8, 8, 3), 240, np.uint8))


def test_a_seam_is_told_from_the_texture_around_it() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(80, 160, (200, 256, 1), np.uint8).repeat(3, axis=2)
    borders = [64, 128, 192]
    assert seam(image, borders) == pytest.approx(1, abs=0.1)
    stepped = image.copy()
    stepped[:, 64:128] -= 60
    stepped[:, 192:] -= 60
    assert seam(stepped, borders) > 1.8
    blurred = image.copy()
    for x in borders:
        blurred[:, x] = blurred[:, x - 1]
    assert seam(blurred, borders) == 0
    with pytest.raises(ValueError, match="no tissue at the borders"):
        seam(image, [0, 256])


def test_figures_of_pictures_add_up_to_that_of_all() -> None:
    image = texture(128, 2)
    parts = StepSum()
    parts.add(image[:64], [40, 90])
    parts.add(image[64:], [40, 90])
    assert parts.seam == pytest.approx(seam(image, [40, 90]))
    assert parts.sharpness == pytest.approx(sharpness(image))

    other = texture(128, 2, seed=1)
    halves = CoherenceSum()
    halves.add(image[:64], other[:64])
    halves.add(image[64:], other[64:])
    assert halves.coherence == pytest.approx(coherence(image, other))


def test_columns_that_are_left_out_count_nowhere() -> None:
    image = np.full((8, 32, 3), 100, np.uint8)
    image[:, 1::2] = 104
    stepped = image.copy()
    stepped[:, 20:] += 50
    steps = StepSum()
    steps.add(stepped, [10], [20])
    assert steps.seam == 1
    assert steps.sharpness == 4


def test_a_picture_agrees_with_its_own_reduction() -> None:
    image = texture(128, 3)
    parent = image.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    assert coherence(image, parent) == pytest.approx(1, abs=0.01)
    assert coherence(image, image) == 1


def test_unrelated_tissue_does_not_agree_and_nor_does_a_flat_colour() -> None:
    image, other = texture(256, 3), texture(256, 3, seed=1)
    assert coherence(image, other) == pytest.approx(-1, abs=0.1)  # two variances of difference to one of contrast
    flat = np.broadcast_to(np.rint(other.reshape(-1, 3).mean(axis=0)).astype(np.uint8), other.shape)
    assert coherence(flat, other) == pytest.approx(0, abs=0.01)


def test_drifting_colour_and_moved_structure_cost_coherence() -> None:
    image = texture(128, 3)
    contrast = image.astype(float).var(axis=(0, 1)).mean()
    assert coherence(image + np.uint8(10), image) == pytest.approx(1 - 100 / contrast)
    assert coherence(np.roll(image, 1, axis=1), image) > coherence(np.roll(image, 3, axis=1), image)


def test_tissue_that_only_one_of_both_shows_counts() -> None:
    glass = np.full((32, 64, 3), 240, np.uint8)
    both = glass.copy()
    both[:, :32] = texture(32, 2)
    more = both.copy()
    more[:, 32:] = texture(32, 2, seed=1)
    assert coherence(both, both) == 1
    assert coherence(more, both) < 0.6
    assert coherence(both, more) < 0.6
    with pytest.raises(ValueError, match="no contrast"):
        coherence(glass, glass)
