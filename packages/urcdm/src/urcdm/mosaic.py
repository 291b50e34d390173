"""How overlapping patches make one picture: blended linearly, from one to the next across the whole overlap."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from urcdm.order import Cell
from wsi_tiling import Grid

Load = Callable[[Cell], NDArray[Any]]
"""Gives a patch, (S, S, 3)."""


class Mosaic:
    """Where the patches of one stage lie on the stage's canvas, and how much each counts in every pixel.

    Args:
        grid: The patches, in pixels of the level's last stage.
        image_px: Side S of the stage's images, which divides the grid's patches.
    """

    def __init__(self, grid: Grid, image_px: int) -> None:
        shrink = grid.patch_px // image_px
        self.image_px = image_px
        self.size_px = (grid.canvas_px[0] // shrink, grid.canvas_px[1] // shrink)
        self.xs, self.ys = [x // shrink for x in grid.xs], [y // shrink for y in grid.ys]
        self._x_weights, self._y_weights = _ramps(self.xs, image_px), _ramps(self.ys, image_px)

    def origin(self, cell: Cell) -> tuple[int, int]:
        """Upper left corner (x, y) of a patch."""
        return self.xs[cell[1]], self.ys[cell[0]]

    def window(self, cell: Cell) -> tuple[int, int, int, int]:
        """Where a patch lies: x, y, width and height."""
        return (*self.origin(cell), self.image_px, self.image_px)

    def weights(self, cell: Cell) -> NDArray[np.float32]:
        """How much a patch counts, (S, S) in [0, 1]; two neighbours' weights add up to 1 all over their overlap."""
        return np.asarray(self._y_weights[cell[0]][:, None] * self._x_weights[cell[1]][None, :], np.float32)

    def cells_at(self, x: int, y: int, width: int, height: int) -> list[Cell]:
        """The patches that touch a window."""
        rows = [r for r, y0 in enumerate(self.ys) if y0 < y + height and y < y0 + self.image_px]
        cols = [c for c, x0 in enumerate(self.xs) if x0 < x + width and x < x0 + self.image_px]
        return [(row, col) for row in rows for col in cols]

    def blend(
        self, window: tuple[int, int, int, int], patches: Iterable[tuple[Cell, Load]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Blends patches in a window of x, y, width and height.

        Returns:
            The mean, (height, width, 3), 0 where there is no patch; and the sum of the weights, (height, width).
        """
        x, y, width, height = window
        total = np.zeros((height, width, 3), np.float32)
        weight = np.zeros((height, width, 1), np.float32)
        for cell, load in patches:
            x0, y0 = self.origin(cell)
            left, right = max(x, x0), min(x + width, x0 + self.image_px)
            top, bottom = max(y, y0), min(y + height, y0 + self.image_px)
            if left >= right or top >= bottom:
                continue
            inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
            part = (slice(top - y, bottom - y), slice(left - x, right - x))
            share = self._y_weights[cell[0]][inside[0], None, None] * self._x_weights[cell[1]][None, inside[1], None]
            total[part] += share * load(cell)[inside]
            weight[part] += share
        total /= np.where(weight > 0, weight, 1)
        return total, weight[..., 0]


def _ramps(origins: Sequence[int], side: int) -> list[NDArray[np.float32]]:
    """Weights along one axis: for each patch a ramp up over the overlap before it and down over the one after."""
    place = np.arange(side, dtype=np.float32) + 0.5
    weights = []
    for i, origin in enumerate(origins):
        weight = np.ones(side, np.float32)
        if i > 0 and (overlap := origins[i - 1] + side - origin) > 0:
            weight = np.minimum(weight, place / overlap)
        if i + 1 < len(origins) and (overlap := origin + side - origins[i + 1]) > 0:
            weight = np.minimum(weight, (side - place) / overlap)
        weights.append(weight)
    return weights
