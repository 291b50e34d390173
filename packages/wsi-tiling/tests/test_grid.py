from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_tiling import Grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    multiple = draw(st.integers(1, 16))
    patch = draw(st.integers(1, 20))
    canvas = tuple(multiple * (patch + draw(st.integers(0, 60))) for _ in range(2))
    return Grid((canvas[0], canvas[1]), multiple * patch, draw(st.integers(0, 99)) / 100, multiple)


@given(grids())
def test_patches_cover_the_canvas_and_end_exactly_at_its_edges(grid: Grid) -> None:
    covered = np.zeros(grid.canvas_px[::-1], bool)
    for row, col in grid:
        x, y = grid.origin(row, col)
        covered[y : y + grid.patch_px, x : x + grid.patch_px] = True
    assert covered.all()
    assert grid.origin(0, 0) == (0, 0)
    last = grid.origin(grid.rows - 1, grid.cols - 1)
    assert (last[0] + grid.patch_px, last[1] + grid.patch_px) == grid.canvas_px


@given(grids())
def test_neighbours_overlap_by_what_was_asked_at_least(grid: Grid) -> None:
    asked = Fraction(str(grid.overlap)) * grid.patch_px
    for origins in (grid.xs, grid.ys):
        for before, after in pairwise(origins):
            overlap = grid.patch_px - (after - before)
            assert overlap >= asked or after - before == grid.multiple


@given(grids())
def test_origins_are_distinct_multiples(grid: Grid) -> None:
    origins = [grid.origin(row, col) for row, col in grid]
    assert len(set(origins)) == len(origins) == len(grid) == grid.rows * grid.cols
    assert all(x % grid.multiple == 0 and y % grid.multiple == 0 for x, y in origins)


def test_the_last_patch_is_moved_back() -> None:
    grid = Grid((40_000, 40_000), 1024, 0.125, 16)
    assert grid.stride_px == 896
    assert grid.xs[:2] == (0, 896)
    assert grid.xs[-2:] == (38_528, 38_976)


def test_an_overlap_is_taken_as_written() -> None:
    assert Grid((1000, 1000), 100, 0.9).stride_px == 10
    assert Grid((1000, 1000), 100, 0.7).stride_px == 30


def test_one_patch_as_large_as_the_canvas() -> None:
    assert list(Grid((64, 64), 64, 0.5)) == [(0, 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((63, 64), 64, 0.1), "does not fit"),
        (((64, 64), 64, 1.0), "overlap"),
        (((64, 64), 64, -0.1), "overlap"),
        (((70, 64), 64, 0.1, 16), "multiples of 16"),
        (((64, 64), 60, 0.1, 16), "multiples of 16"),
        (((64, 64), 0, 0.1), "at least 1"),
    ],
)
def test_an_impossible_grid_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(*arguments)


def test_there_is_no_patch_before_the_first() -> None:
    with pytest.raises(IndexError, match=r"no patch \(-1, 0\)"):
        Grid((64, 64), 16, 0.5).origin(-1, 0)
