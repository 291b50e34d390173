"""Which patches can be sampled now: each waits for the neighbours whose overlap it holds."""

import heapq
from collections.abc import Collection, Iterable, Mapping
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
    def sampled(self) -> list[Cell]:
        """The patches that are sampled, row by row."""
        return [cell for cell in self.grid if not self.skipped[cell]]

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Direction in which rows and columns are worked, each 1 or -1."""
        corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        return max(corners, key=lambda corner: sum(not self.needs(cell, corner) for cell in self.sampled))

    def needs(self, cell: Cell, corner: tuple[int, int] | None = None) -> list[Cell]:
        """The sampled patches that a patch waits for."""
        (row, col), (down, right) = cell, corner or self.corner
        before = [(row - down, col), (row, col - right), (row - down, col - right)]
        rows, cols = range(self.grid.rows), range(self.grid.cols)
        return [(r, c) for r, c in before if r in rows and c in cols and not self.skipped[r, c]]

    def front(self, done: Collection[Cell] = ()) -> "Front":
        """The patches that are still to be sampled, once those in `done` are."""
        left = [cell for cell in self.sampled if cell not in done]
        return Front({cell: [need for need in self.needs(cell) if need not in done] for cell in left})

    def held(self, cell: Cell) -> list[Cell]:
        """The patches whose pixels a patch holds where they overlap: those it waits for, and all that are skipped."""
        x, y = self.grid.origin(*cell)
        side = self.grid.patch_px
        rows = [r for r, other in enumerate(self.grid.ys) if abs(other - y) < side]
        cols = [c for c, other in enumerate(self.grid.xs) if abs(other - x) < side]
        skipped = [(r, c) for r in rows for c in cols if self.skipped[r, c] and (r, c) != cell]
        return self.needs(cell) + skipped


class Front:
    """Patches to hand out, each once all that it waits for are finished, in the order that they are given in.

    Args:
        waits_for: For each patch that is to be handed out, those among them that it waits for.
    """

    def __init__(self, waits_for: Mapping[Cell, Iterable[Cell]]) -> None:
        self._missing = {cell: set(needs) for cell, needs in waits_for.items()}
        self._followers: dict[Cell, list[Cell]] = {}
        for cell, needs in self._missing.items():
            for need in needs:
                self._followers.setdefault(need, []).append(cell)
        self._place = {cell: place for place, cell in enumerate(self._missing)}
        self._ready = [(self._place[cell], cell) for cell, needs in self._missing.items() if not needs]

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def take(self, most: int) -> list[Cell]:
        """Hands out the first of those that are ready, at most so many."""
        return [heapq.heappop(self._ready)[1] for _ in range(min(most, len(self._ready)))]

    def finish(self, cell: Cell) -> None:
        """Notes that a patch is finished."""
        for follower in self._followers.pop(cell, ()):
            self._missing[follower].discard(cell)
            if not self._missing[follower]:
                heapq.heappush(self._ready, (self._place[follower], follower))
