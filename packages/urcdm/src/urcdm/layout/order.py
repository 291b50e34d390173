"""The order of the patches of a level: each waits for the neighbours whose pixels it holds."""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wsi_tiling import Grid

Position = tuple[int, int]
"""Row and column of a patch."""


@dataclass(frozen=True)
class PatchGrid:
    """The order of the patches of a level.

    Sampling starts in the corner that leaves most patches ready at first. A patch waits for three neighbours towards
    that corner: in its row, in its column, and diagonally between. Where another neighbour overlaps it, one of the
    three does too, so the result does not depend on the order among patches that are ready.

    Args:
        grid: The positions of the patches.
        skipped: Patches that are not sampled, (rows, cols) bool; their pixels are known from the start.
    """

    grid: Grid
    skipped: NDArray[np.bool_]

    @cached_property
    def sampled(self) -> list[Position]:
        """The patches that are sampled, row by row."""
        return [position for position in self.grid if not self.skipped[position]]

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Direction of the order along rows and columns, each 1 or -1."""
        corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        return max(corners, key=lambda corner: sum(not self.needs(position, corner) for position in self.sampled))

    def needs(self, position: Position, corner: tuple[int, int] | None = None) -> list[Position]:
        """The sampled patches that a patch waits for."""
        (row, col), (down, right) = position, corner or self.corner
        before = [(row - down, col), (row, col - right), (row - down, col - right)]
        rows, cols = range(self.grid.rows), range(self.grid.cols)
        return [(r, c) for r, c in before if r in rows and c in cols and not self.skipped[r, c]]

    def front(self, done: Collection[Position] = ()) -> "Front":
        """The patches that are still to be sampled, once those in `done` are."""
        left = [position for position in self.sampled if position not in done]
        return Front({position: [need for need in self.needs(position) if need not in done] for position in left})

    def held(self, position: Position) -> list[Position]:
        """The patches whose pixels a patch holds where they overlap: those it waits for, and all that are skipped."""
        x, y = self.grid.origin(*position)
        side = self.grid.patch_px
        rows = [r for r, other in enumerate(self.grid.ys) if abs(other - y) < side]
        cols = [c for c, other in enumerate(self.grid.xs) if abs(other - x) < side]
        skipped = [(r, c) for r in rows for c in cols if self.skipped[r, c] and (r, c) != position]
        return self.needs(position) + skipped


class Front:
    """Patches to hand out in the given order, each once all that it waits for are finished.

    Args:
        waits_for: For each patch to hand out, the others among them that it waits for.
    """

    def __init__(self, waits_for: Mapping[Position, Iterable[Position]]) -> None:
        self._missing = {position: set(needs) for position, needs in waits_for.items()}
        self._followers: dict[Position, list[Position]] = {}
        for position, needs in self._missing.items():
            for need in needs:
                self._followers.setdefault(need, []).append(position)
        self._rank = {position: rank for rank, position in enumerate(self._missing)}
        self._ready = [(self._rank[position], position) for position, needs in self._missing.items() if not needs]

    def __len__(self) -> int:
        """The number of patches that are ready."""
        return len(self._ready)

    def take(self, most: int) -> list[Position]:
        """Hands out the first patches that are ready, at most `most`."""
        return [heapq.heappop(self._ready)[1] for _ in range(min(most, len(self._ready)))]

    def finish(self, position: Position) -> None:
        """Marks a patch as finished."""
        for follower in self._followers.pop(position, ()):
            self._missing[follower].discard(position)
            if not self._missing[follower]:
                heapq.heappush(self._ready, (self._rank[follower], follower))
