"""Which patches can be sampled now: each waits for the neighbours whose overlap it holds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wsi_tiling import Grid

Cell = tuple[int, int]
"""Row and column of a patch."""


@dataclass(frozen=True)
class PatchGrid:
    """The order of the patches of a level.

    Work starts in the corner that leaves most patches ready at once. A patch waits for the one beside it, the one
    above it and the one between these, all three on the side of that corner. Any other neighbour that overlaps it does
    so where one of the three lies too, so the result does not depend on the order among patches that are ready.

    Args:
        grid: Where the patches lie.
        skipped: Patches that are not sampled, (rows, cols) bool; their pixels are there from the start.
    """

    grid: Grid
    skipped: NDArray[np.bool_]

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Direction in which rows and columns are worked, each 1 or -1."""
        corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        nothing = frozenset[Cell]()
        return max(corners, key=lambda corner: len(self._ready(nothing, corner)))

    def needs(self, cell: Cell, corner: tuple[int, int] | None = None) -> list[Cell]:
        """The sampled patches that a patch waits for."""
        (row, col), (down, right) = cell, corner or self.corner
        before = [(row - down, col), (row, col - right), (row - down, col - right)]
        rows, cols = range(self.grid.rows), range(self.grid.cols)
        return [(r, c) for r, c in before if r in rows and c in cols and not self.skipped[r, c]]

    def ready(self, done: frozenset[Cell] | set[Cell]) -> list[Cell]:
        """The patches that can be sampled once those in `done` are, row by row."""
        return self._ready(done, self.corner)

    def held(self, cell: Cell) -> list[Cell]:
        """The patches whose pixels a patch holds where they overlap: those it waits for, and all that are skipped."""
        x, y = self.grid.origin(*cell)
        side = self.grid.patch_px
        rows = [r for r, other in enumerate(self.grid.ys) if abs(other - y) < side]
        cols = [c for c, other in enumerate(self.grid.xs) if abs(other - x) < side]
        skipped = [(r, c) for r in rows for c in cols if self.skipped[r, c] and (r, c) != cell]
        return self.needs(cell) + skipped

    def _ready(self, done: frozenset[Cell] | set[Cell], corner: tuple[int, int]) -> list[Cell]:
        return [
            cell
            for cell in self.grid
            if cell not in done and not self.skipped[cell] and all(n in done for n in self.needs(cell, corner))
        ]
