import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from wsi_tiling import RECOMMENDED, Image, TissueRule, tissue_mask
from wsi_tiling.tissue.pen import INK, ink_flags, pen_mask

GLASS, PURPLE, PINK = (242, 243, 242), (110, 60, 150), (230, 150, 190)
HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
"""Optical densities in red, green and blue, from Ruifrok and Johnston 2001."""
INKS = {
    "blue": (37, 95, 170),
    "light blue": (110, 165, 210),
    "green": (40, 160, 130),
    "dark green": (20, 70, 50),
    "red": (220, 40, 60),
    "black": (45, 45, 48),
}


def tissue(size: int) -> Image:
    """Pink with purple nuclei."""
    image = np.full((size, size, 3), PINK, np.uint8)
    y, x = np.mgrid[:size, :size]
    image[((x % 24 - 12) ** 2 + (y % 24 - 12) ** 2) < 36] = PURPLE
    return image


def under_pen(image: Image, ink: tuple[int, int, int], width: int, blur: float) -> tuple[Image, np.ndarray]:
    """A picture under a level stroke of ink out of focus, and where the stroke is at half strength or more."""
    stroke = np.zeros(image.shape[:2], np.float32)
    middle = image.shape[0] // 2
    stroke[middle - width // 2 : middle + width // 2] = 1
    stroke = ndimage.gaussian_filter(stroke, (blur, 0), mode="nearest")
    transmitted = (np.array(ink) / 243) ** stroke[..., None]
    return np.rint(image * transmitted).astype(np.uint8), stroke > 0.5


@pytest.mark.parametrize("scale_l0", [1, 4, 16])
@pytest.mark.parametrize("name", INKS)
def test_pen_on_glass_is_not_tissue(name: str, scale_l0: float) -> None:
    glass = np.full((400, 300, 3), GLASS, np.uint8)
    image, _ = under_pen(glass, INKS[name], 120, 6)
    assert tissue_mask(image, RECOMMENDED, scale_l0).mean() < 0.01


@pytest.mark.parametrize("name", [name for name in INKS if name != "light blue"])
def test_tissue_beside_a_pen_stays_and_tissue_under_it_goes(name: str) -> None:
    image, stroke = under_pen(tissue(480), INKS[name], 160, 6)
    mask = tissue_mask(image, RECOMMENDED, 4)
    far = ~ndimage.binary_dilation(stroke, iterations=30)
    assert mask[stroke].mean() < 0.05
    assert mask[far].mean() > 0.98


@given(st.floats(0, 1.6), st.floats(0, 1.2))
def test_no_mixture_of_haematoxylin_and_eosin_is_ink(haematoxylin: float, eosin: float) -> None:
    density = haematoxylin * HAEMATOXYLIN + eosin * EOSIN
    colour = np.rint(243 * 10**-density).astype(np.uint8)
    assert not (ink_flags(np.full((3, 3, 3), colour, np.uint8)) & INK).any()


def test_red_blood_cells_are_not_red_ink() -> None:
    image = tissue(300)
    y, x = np.mgrid[:300, :300]
    for cx, cy in ((60, 60), (78, 64), (200, 150)):
        image[((x - cx) ** 2 + (y - cy) ** 2) < 64] = (215, 45, 65)
    assert (ink_flags(image) & INK).any()
    assert tissue_mask(image, RECOMMENDED).all()


def stroke(thickness: float) -> np.ndarray:
    """How much ink lies where, (256, 256, 1): a stroke across, and a blob in it where it is thicker."""
    y, x = np.mgrid[:256, :256] / 256.0
    amount = np.exp(-(((y - 0.35 - 0.25 * x) / 0.13) ** 2))
    return (amount * (1 + (thickness - 1) * np.exp(-(((x - 0.3) / 0.22) ** 2))))[..., None]


@pytest.mark.parametrize("glass", [(243, 243, 243), (232, 226, 238)])
@pytest.mark.parametrize("thickness", [2, 4, 8])
@pytest.mark.parametrize("name", [name for name in INKS if name != "light blue"])
def test_the_core_of_thick_ink_is_ink(name: str, thickness: float, glass: tuple[int, int, int]) -> None:
    """With a hundredth of stray light: a camera sees no colour where nothing else is left."""
    transmitted = 0.99 * (np.array(INKS[name]) / 243) ** stroke(thickness) + 0.01
    image = ndimage.gaussian_filter(glass * transmitted, (6, 6, 0))
    assert tissue_mask(image.astype(np.uint8), RECOMMENDED).mean() < 0.005


@pytest.mark.parametrize("darker", [(0.75, 0.45, 0.30), (0.4, 0.3, 0.2), (1.2, 0.9, 0.8)])
def test_red_ink_that_darkens_red_where_it_is_thick_is_ink(darker: tuple[float, float, float]) -> None:
    thin = stroke(1)
    density = thin * (0.05, 0.85, 0.75) + (stroke(2) - thin) * darker
    image = ndimage.gaussian_filter(243 * 10**-density, (6, 6, 0)).clip(0, 255).astype(np.uint8)
    assert tissue_mask(image, RECOMMENDED).mean() < 0.005


def test_nothing_is_a_pen_where_there_is_no_ink() -> None:
    assert not pen_mask(ink_flags(tissue(100)), 1.0).any()


def test_ink_is_rejected_only_if_asked() -> None:
    image, _ = under_pen(tissue(300), INKS["red"], 100, 4)
    assert tissue_mask(image, TissueRule()).mean() > 0.95
    assert tissue_mask(image, TissueRule(reject_pen=True)).mean() < 0.8
