import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from urcdm import PatchGrid
from wsi_tiling import Grid


@st.composite
def patch_grids(draw: st.DrawFn) -> PatchGrid:
    size = (draw(st.integers(4, 16)) * 4, draw(st.integers(4, 16)) * 4)
    grid = Grid(size, 16, draw(st.sampled_from([0, 0.125, 0.25, 0.5])), 4)
    seed = draw(st.integers(0, 1000))
    share = draw(st.sampled_from([0, 0.3, 0.8]))
    return PatchGrid(grid, np.random.default_rng(seed).random((grid.rows, grid.cols)) < share)


def area(grid: Grid, position: tuple[int, int]) -> set[tuple[int, int]]:
    x, y = grid.origin(*position)
    return {(i, j) for i in range(x, x + 16) for j in range(y, y + 16)}


@given(patch_grids(), st.integers(1, 9))
def test_every_patch_becomes_ready_once(order: PatchGrid, batch: int) -> None:
    done = {(r, c) for r, c in order.grid if order.skipped[r, c]}
    front = order.front()
    while ready := front.take(batch):
        for position in ready:
            assert set(order.needs(position)) <= done
            assert position not in done
        done.update(ready)
        for position in ready:
            front.finish(position)
    assert done == set(order.grid)


@given(patch_grids(), st.integers(0, 1000))
def test_what_is_left_becomes_ready_after_any_stop(order: PatchGrid, seed: int) -> None:
    rng, done = np.random.default_rng(seed), set()
    front = order.front()
    while len(front) and rng.random() < 0.9:
        (position,) = front.take(1)
        done.add(position)
        front.finish(position)
    resumed = order.front(done)
    while positions := resumed.take(3):
        for position in positions:
            assert position not in done
            assert set(order.needs(position)) <= done
            done.add(position)
            resumed.finish(position)
    assert done == {(r, c) for r, c in order.grid if not order.skipped[r, c]}


@given(patch_grids())
def test_no_pixel_is_drawn_freely_by_two_patches(order: PatchGrid) -> None:
    """Where two patches overlap, one of them holds the pixels at least, so the order of ready patches is free."""
    positions = [position for position in order.grid if not order.skipped[position]]
    areas = {position: area(order.grid, position) for position in order.grid}
    held = {position: set().union(*(areas[other] for other in order.held(position))) for position in positions}
    for i, position in enumerate(positions):
        for other in positions[i + 1 :]:
            assert areas[position] & areas[other] <= held[position] | held[other]


def test_work_starts_in_the_corner_that_leaves_most_patches_ready() -> None:
    grid = Grid((80, 80), 16, 0.0)
    skipped = np.zeros((5, 5), bool)
    assert len(PatchGrid(grid, skipped).front()) == 1
    skipped[np.tril_indices(5, -1)] = True  # a staircase whose steps look to the lower left
    order = PatchGrid(grid, skipped)
    assert len(order.front()) == 5
    assert order.corner == (-1, 1)


def test_a_patch_waits_for_three_neighbours() -> None:
    order = PatchGrid(Grid((80, 80), 16, 0.0), np.zeros((5, 5), bool))
    assert order.needs((2, 2), (1, 1)) == [(1, 2), (2, 1), (1, 1)]
    assert order.needs((2, 2), (1, -1)) == [(1, 2), (2, 3), (1, 3)]
    assert order.needs((0, 0), (1, 1)) == []


@pytest.mark.parametrize("overlap", [0.125, 0.5])
def test_skipped_neighbours_are_held_on_every_side(overlap: float) -> None:
    grid = Grid((80, 80), 16, overlap, 2)
    skipped = np.ones((grid.rows, grid.cols), bool)
    skipped[2, 2] = False
    held = PatchGrid(grid, skipped).held((2, 2))
    assert {(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3)} <= set(held)
