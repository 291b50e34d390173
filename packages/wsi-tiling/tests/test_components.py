import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsi_tiling.tissue import components
from wsi_tiling.tissue.components import without_small_parts


def one_by_one(mask: np.ndarray, least_px: float, diagonal: bool) -> np.ndarray:
    labels, count = ndimage.label(mask, np.ones((3, 3)) if diagonal else None)
    kept = np.zeros_like(mask)
    for number in range(1, count + 1):
        part = labels == number
        at_edge = part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any()
        kept |= part & (part.sum() >= least_px or at_edge)
    return kept


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    density=st.floats(0.1, 0.8),
    least=st.integers(0, 60),
    diagonal=st.booleans(),
    rows=st.integers(1, 12),
)
def test_parts_are_joined_across_bands(
    seed: int, size: tuple[int, int], density: float, least: int, diagonal: bool, rows: int
) -> None:
    mask = np.random.default_rng(seed).random(size) < density
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "MAX_BAND_PX", 4 * rows * size[1])
        found = without_small_parts(mask, least, diagonal=diagonal)
    np.testing.assert_array_equal(found, one_by_one(mask, least, diagonal))


def test_corners_join_parts_if_asked() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3:5, 3:5] = mask[5:7, 5:7] = True
    assert not without_small_parts(mask, 5, diagonal=False).any()
    np.testing.assert_array_equal(without_small_parts(mask, 5, diagonal=True), mask)
