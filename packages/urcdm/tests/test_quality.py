import numpy as np
import pytest

from urcdm import seam, sharpness


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
