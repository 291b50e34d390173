"""The canvas of a run: every finished patch on disk. It is the run's only state, so a run resumes from it."""

import errno
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.common import JSON

from urcdm.config import UrcdmConfig
from urcdm.errors import CanvasError
from urcdm.geometry import Box
from urcdm.order import Cell
from wsi_tiling import Grid
from wsi_tiling.region import resample

FORMAT = 1
CACHED_BYTES = 64 * 2**20


class Canvas:
    """A folder with one zarr array for each stage of each level, and what the run was started with.

    Args:
        path: The folder; made if missing.
        identity: Everything that decides the pixels: model, seed, size, settings.
        config: The ultra-resolution cascade.

    Raises:
        CanvasError: The folder holds something else, or a run with another identity; the message names the difference.
    """

    def __init__(self, path: Path, identity: Mapping[str, str | int | float], config: UrcdmConfig) -> None:
        self.path = path
        self.config = config
        wanted: dict[str, JSON] = {"format": FORMAT, **identity}
        new = not path.exists() or not any(path.iterdir())
        try:
            self._group = zarr.open_group(path, mode="w" if new else "r+", attributes=wanted if new else None)
        except (OSError, ValueError, KeyError) as error:
            raise _told(path, error, "cannot be opened as a canvas; delete it or choose another") from error
        found = dict(self._group.attrs)
        for name in wanted.keys() | found.keys():
            if found.get(name) != wanted.get(name):
                raise CanvasError(
                    f"{path}: the canvas was started with {name} = {found.get(name)}, not {wanted.get(name)}; "
                    "use the same, or start again with --overwrite"
                )

    def stage(self, name: str, grid: Grid, image_px: int) -> "StageCanvas":
        """Opens the canvas of one stage of a level, or makes it.

        Args:
            name: Its name, such as 'high-128'.
            grid: The patches, in pixels of the level's last stage.
            image_px: Side of the stage's images, which divides the grid's patches.

        Raises:
            CanvasError: It cannot be made, for instance because the disk is full.
        """
        try:
            if name in self._group:
                array = self._group[name]
            else:
                array = self._group.create_array(
                    name,
                    shape=(grid.rows, grid.cols, image_px, image_px, 3),
                    chunks=(1, 1, image_px, image_px, 3),
                    dtype="uint8",
                    compressors=ZstdCodec(level=1, checksum=True),
                    config={"write_empty_chunks": True},  # a patch is done if its chunk is there, black ones too
                )
        except (OSError, ValueError) as error:
            raise _told(self.path, error, "cannot be written") from error
        return StageCanvas(array, self.path / name, grid, image_px, self.config.fill)


class StageCanvas:
    """The patches of one stage, and the picture that they make together.

    Where patches overlap the picture blends them linearly, from one to the next across the whole overlap.

    Args:
        array: zarr array, (rows, cols, S, S, 3) uint8.
        path: Its folder.
        grid: The patches, in pixels of the level's last stage.
        image_px: S.
        fill: Colour outside the canvas.
    """

    def __init__(self, array: Any, path: Path, grid: Grid, image_px: int, fill: tuple[int, int, int]) -> None:
        self._array = array
        self._path = path
        self.image_px = image_px
        self.fill = fill
        shrink = grid.patch_px // image_px
        self.size_px = (grid.canvas_px[0] // shrink, grid.canvas_px[1] // shrink)
        self._xs = [x // shrink for x in grid.xs]
        self._ys = [y // shrink for y in grid.ys]
        self._x_weights = _ramps(self._xs, image_px)
        self._y_weights = _ramps(self._ys, image_px)
        self._patch = lru_cache(maxsize=max(16, CACHED_BYTES // (3 * image_px**2)))(self._load)
        self.done = self._find_done()

    def write(self, cell: Cell, pixels: NDArray[np.uint8]) -> None:
        """Stores a finished patch, (S, S, 3), whole or not at all.

        Raises:
            CanvasError: The disk is full, or it cannot be written.
        """
        try:
            self._array[cell[0], cell[1]] = pixels
        except OSError as error:
            raise _told(self._path, error, "cannot be written") from error
        self.done.add(cell)

    def picture(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Reads a window of whole pixels of the picture, (height, width, 3) uint8; black where nothing is done.

        Raises:
            CanvasError: A patch on disk is damaged.
        """
        rows = [r for r, y0 in enumerate(self._ys) if y0 < y + height and y < y0 + self.image_px]
        cols = [c for c, x0 in enumerate(self._xs) if x0 < x + width and x < x0 + self.image_px]
        return self._blend(x, y, width, height, ((r, c) for r in rows for c in cols if (r, c) in self.done))[0]

    def _blend(
        self, x: int, y: int, width: int, height: int, cells: Iterable[Cell]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Blends patches in a window; gives the pixels and the sum of their weights, (height, width)."""
        total = np.zeros((height, width, 3), np.float32)
        weight = np.zeros((height, width, 1), np.float32)
        for row, col in cells:
            x0, y0 = self._xs[col], self._ys[row]
            left, right = max(x, x0), min(x + width, x0 + self.image_px)
            top, bottom = max(y, y0), min(y + height, y0 + self.image_px)
            if left >= right or top >= bottom:
                continue
            inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
            part = (slice(top - y, bottom - y), slice(left - x, right - x))
            share = self._y_weights[row][inside[0], None, None] * self._x_weights[col][None, inside[1], None]
            total[part] += share * self._patch((row, col))[inside]
            weight[part] += share
        pixels = np.rint(total / np.where(weight > 0, weight, 1)).astype(np.uint8)
        return pixels, weight[..., 0]

    def read(self, box: Box, size_px: int) -> NDArray[np.uint8]:
        """Reads any box of the picture, in stage px, resampled to (size_px, size_px, 3); fill outside the canvas."""
        extent = (float(self.size_px[0]), float(self.size_px[1]))
        return resample(self.picture, self.size_px, extent, box, (size_px, size_px), self.fill)

    def held(self, cell: Cell, held: Iterable[Cell]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Returns what the `held` patches put into a patch's place, and how much it is held there.

        The hold falls linearly across the overlap, from 1 at the patch's edge to 0 where the overlap ends, as the
        blending does: a hold that ended abruptly would show as a seam inside the patch.

        Returns:
            Pixels, (S, S, 3) uint8, and the hold, (S, S) in [0, 1].
        """
        row, col = cell
        pixels, weight = self._blend(self._xs[col], self._ys[row], self.image_px, self.image_px, held)
        own = self._y_weights[row][:, None] * self._x_weights[col][None, :]
        return pixels, np.asarray(weight / (weight + own), np.float32)

    def patch_of(self, cell: Cell) -> NDArray[np.uint8]:
        """Returns the picture at a patch's place, (S, S, 3): the patch, blended with its neighbours."""
        return self.picture(self._xs[cell[1]], self._ys[cell[0]], self.image_px, self.image_px)

    def _load(self, cell: Cell) -> NDArray[np.uint8]:
        try:
            return np.asarray(self._array[cell[0], cell[1]], np.uint8)
        except (OSError, RuntimeError, ValueError) as error:
            place = f"{self._path / 'c' / str(cell[0]) / str(cell[1])}"
            raise CanvasError(f"{place}: this patch is damaged ({error}); delete it and resume") from error

    def _find_done(self) -> set[Cell]:
        pattern = re.compile(r"c/(\d+)/(\d+)/0/0/0")
        matches = (pattern.fullmatch(p.relative_to(self._path).as_posix()) for p in self._path.rglob("c/*/*/0/0/0"))
        return {(int(match[1]), int(match[2])) for match in matches if match}


def _ramps(origins: list[int], side: int) -> list[NDArray[np.float32]]:
    """Blending weights along one axis: for each patch a ramp up over the overlap before it and down over the one after.

    Two neighbours' weights add up to 1 in every pixel of their overlap.
    """
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


def _told(path: Path, error: Exception, otherwise: str) -> CanvasError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CanvasError(f"{path}: the disk is full; free some space and resume, nothing that was done is lost")
    return CanvasError(f"{path}: {otherwise} ({error})")
