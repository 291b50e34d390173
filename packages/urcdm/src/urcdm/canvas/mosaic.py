"""Blends overlapping patches into one picture, linearly across the whole overlap."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from urcdm.layout.order import Position
from wsi_tiling import Grid

Load = Callable[[Position], NDArray[Any]]
"""Gives a patch, (S, S, 3)."""
Number = TypeVar("Number", np.uint8, np.float32)
Window = tuple[int, int, int, int]
"""x, y, width and height."""
Box = tuple[int, int, int, int]
"""x0, y0, x1 and y1."""


class Mosaic:
    """Positions of the patches of one stage on its canvas, and the weight of each in every pixel.

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

    def origin(self, position: Position) -> tuple[int, int]:
        """Upper left corner (x, y) of a patch."""
        return self.xs[position[1]], self.ys[position[0]]

    def window(self, position: Position) -> Window:
        """The window of a patch: x, y, width and height."""
        return (*self.origin(position), self.image_px, self.image_px)

    def weights(self, position: Position) -> NDArray[np.float32]:
        """The weight of a patch in each pixel, (S, S) in [0, 1]; those of two neighbours sum to 1 in their overlap."""
        return np.asarray(self._y_weights[position[0]][:, None] * self._x_weights[position[1]][None, :], np.float32)

    def positions_at(self, x: int, y: int, width: int, height: int) -> list[Position]:
        """The patches that touch a window."""
        rows = [r for r, y0 in enumerate(self.ys) if y0 < y + height and y < y0 + self.image_px]
        cols = [c for c, x0 in enumerate(self.xs) if x0 < x + width and x < x0 + self.image_px]
        return [(row, col) for row in rows for col in cols]

    def blend(
        self, window: Window, positions: Collection[Position], load: Load, dtype: type[Number]
    ) -> NDArray[Number]:
        """Blends patches in a window.

        Args:
            window: x, y, width and height.
            positions: The patches.
            load: Gives the pixels of a patch.
            dtype: Of the result; uint8 is rounded.

        Returns:
            The weighted mean, (height, width, 3), 0 where there is no patch.
        """
        x, y, width, height = window
        pixels = {position: load(position) for position in self.positions_at(*window) if position in positions}
        mean = np.zeros((height, width, 3), dtype)
        for (left, right), cols in _pieces(x, width, self.xs, self.image_px):
            for (top, bottom), rows in _pieces(y, height, self.ys, self.image_px):
                covering = {(row, col): pixels[row, col] for row in rows for col in cols if (row, col) in pixels}
                box, part = (left, top, right, bottom), (slice(top - y, bottom - y), slice(left - x, right - x))
                if len(covering) == 1:  # most of the area: nothing to average
                    [(position, patch)] = covering.items()
                    mean[part] = patch[self._inside(position, box)]
                elif covering:
                    piece = self._mean(covering, box)
                    mean[part] = np.rint(piece) if dtype is np.uint8 else piece
        return mean

    def weight(self, window: Window, positions: Iterable[Position]) -> NDArray[np.float32]:
        """Sums the weights of patches in a window of x, y, width and height, (height, width)."""
        x, y, width, height = window
        total = np.zeros((height, width), np.float32)
        for position in positions:
            x0, y0 = self.origin(position)
            box = (max(x, x0), max(y, y0), min(x + width, x0 + self.image_px), min(y + height, y0 + self.image_px))
            if box[0] < box[2] and box[1] < box[3]:
                total[box[1] - y : box[3] - y, box[0] - x : box[2] - x] += self._share(position, box)
        return total

    def _mean(self, patches: Mapping[Position, NDArray[Any]], box: Box) -> NDArray[np.float32]:
        """The weighted mean of patches in a box that all of them cover, (height, width, 3)."""
        left, top, right, bottom = box
        total = np.zeros((bottom - top, right - left, 3), np.float32)
        weight = np.zeros((bottom - top, right - left, 1), np.float32)
        for position, patch in patches.items():
            share = self._share(position, box)[..., None]
            total += share * patch[self._inside(position, box)]
            weight += share
        return total / weight

    def _share(self, position: Position, box: Box) -> NDArray[np.float32]:
        """The weight of a patch in a box that it covers, (height, width)."""
        rows, cols = self._inside(position, box)
        return self._y_weights[position[0]][rows, None] * self._x_weights[position[1]][None, cols]

    def _inside(self, position: Position, box: Box) -> tuple[slice, slice]:
        """A box in the patch's own rows and columns."""
        x0, y0 = self.origin(position)
        return slice(box[1] - y0, box[3] - y0), slice(box[0] - x0, box[2] - x0)


def _pieces(begin: int, length: int, origins: Sequence[int], side: int) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Cuts one axis of a window where patches begin and end; yields each piece and the patches that cover it."""
    end = begin + length
    touching = [i for i, origin in enumerate(origins) if origin < end and begin < origin + side]
    edges = {begin, end, *(edge for i in touching for edge in (origins[i], origins[i] + side) if begin < edge < end)}
    for first, last in pairwise(sorted(edges)):
        yield (first, last), [i for i in touching if origins[i] <= first and last <= origins[i] + side]


def _ramps(origins: Sequence[int], side: int) -> list[NDArray[np.float32]]:
    """Weights along one axis: for each patch a ramp up over the overlap before it and down over the one after."""
    centres = np.arange(side, dtype=np.float32) + 0.5
    weights = []
    for i, origin in enumerate(origins):
        weight = np.ones(side, np.float32)
        if i > 0 and (overlap := origins[i - 1] + side - origin) > 0:
            weight = np.minimum(weight, centres / overlap)
        if i + 1 < len(origins) and (overlap := origin + side - origins[i + 1]) > 0:
            weight = np.minimum(weight, (side - centres) / overlap)
        weights.append(weight)
    return weights
