from dataclasses import replace

import numpy as np
import pytest

from urcdm import Level, UrcdmConfig
from urcdm.training.augment import augmented_parent
from wsi_tiling import Image

PARENT, LEVEL = Level("low", 256, 64), Level("high", 64, 64)
"""The patch is the 16 px in the middle of the parent's 64 px: 24 px are left on each side."""
CONFIG = UrcdmConfig((PARENT, LEVEL), mpp=0.5, fill=(0, 0, 0))


def picture() -> Image:
    return np.random.default_rng(0).integers(100, 256, (64, 64, 3)).astype(np.uint8)


def augmented(config: UrcdmConfig, seed: int) -> Image:
    return augmented_parent(picture(), config, PARENT, LEVEL, np.random.default_rng(seed))


def test_without_augmentation_the_picture_stays() -> None:
    assert all((augmented(CONFIG, seed) == picture()).all() for seed in range(5))


def test_padding_fills_a_part_of_the_examples_from_one_edge_or_two() -> None:
    config, padded, sides = replace(CONFIG, pad_augment=0.25), 0, set()
    for seed in range(1000):
        filled = (augmented(config, seed) == 0).all(axis=2)
        padded += filled.any()
        # whole rows and columns from an edge on, and never both of two opposite edges
        rows, columns = filled.all(axis=1), filled.all(axis=0)
        assert (filled == rows[:, None] | columns).all()
        assert not (rows[0] and rows[-1])
        assert not (columns[0] and columns[-1])
        sides.add((rows[0], rows[-1], columns[0], columns[-1]))
    assert 0.2 < padded / 1000 < 0.3
    assert len(sides) == 9


def test_padding_reaches_up_to_the_patch_and_never_into_it() -> None:
    filled = [(augmented(replace(CONFIG, pad_augment=1.0), seed) == 0).all(axis=2) for seed in range(200)]
    widths = [max(each.all(axis=1).sum(), each.all(axis=0).sum()) for each in filled]
    assert not any(each[24:40, 24:40].any() for each in filled)
    assert 0.4 < np.mean(np.array(widths) == 24) < 0.6
    assert len(set(widths)) > 15


def test_blur_softens_by_at_most_what_is_asked_for() -> None:
    def roughness(image: Image) -> float:
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    shares = [roughness(augmented(replace(CONFIG, max_context_blur=0.5), seed)) for seed in range(30)]
    shares = [share / roughness(picture()) for share in shares]
    assert max(shares) > 0.95
    assert 0.5 < min(shares) < 0.7


def test_settings_do_not_move_each_others_numbers() -> None:
    one, both = replace(CONFIG, pad_augment=0.5), replace(CONFIG, pad_augment=0.5, max_context_blur=0.01)
    assert all((augmented(one, seed) == augmented(both, seed)).all() for seed in range(20))


@pytest.mark.parametrize("setting", [{"pad_augment": 1.5}, {"max_context_blur": -0.1}])
def test_values_outside_their_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        replace(CONFIG, **setting)
