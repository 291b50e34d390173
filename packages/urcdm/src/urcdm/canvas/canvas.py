"""The canvas of a run: every finished patch on disk. It is the run's only state, so a run resumes from it."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.common import JSON

from run_folder import FolderLock, LockedError
from run_folder.locks import LOCK_FILE
from urcdm.canvas.mosaic import Mosaic
from urcdm.canvas.patch_store import UNREADABLE, PatchStore, canvas_error
from urcdm.config import UrcdmConfig
from urcdm.errors import CanvasError
from urcdm.layout.geometry import Box
from urcdm.layout.order import Position
from wsi_tiling import Grid, TileCache, resample

FORMAT = 4
BLOCK_PX = 512
"""Side of the blended blocks of a finished picture that are cached: contexts of neighbouring patches overlap."""
CACHED_BYTES = 48 * 2**20
_UNFINISHED = re.compile(r"\.lock|zarr\.[0-9a-f]+\.partial")
"""Files of a run that was killed at its very beginning: its lock, and zarr's unfinished metadata."""
_PARTIAL = r"(\.[0-9a-f]+\.partial)?"
_CANVAS_FILE = re.compile(rf"\.lock|zarr\.json|zarr{_PARTIAL}|\.[0-9a-f]{{12}}\.partial\.json")
_STAGE_FILE = re.compile(rf"zarr\.json|(zarr|c(\.\d+)+){_PARTIAL}")


class Canvas:
    """A folder with one zarr array for each stage of each level, and the identity of the run.

    Args:
        path: The folder; made if missing.
        identity: Everything that decides the pixels: model, seed, size, settings.
        config: The ultra-resolution cascade.

    Raises:
        CanvasError: The folder holds something else, or a run with another identity; the message names the difference.

    Attributes:
        run_id: Digest of the identity, which every stage on disk carries.
    """

    def __init__(self, path: Path, identity: Mapping[str, str | int | float], config: UrcdmConfig) -> None:
        self.path = path
        self.config = config
        wanted: dict[str, JSON] = {"format": FORMAT, **identity}
        self.run_id = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
        try:
            new = not path.exists() or all(_UNFINISHED.fullmatch(child.name) for child in path.iterdir())
            self._group = zarr.open_group(path, mode="a" if new else "r+", attributes=wanted if new else None)
        except UNREADABLE as error:
            raise canvas_error(path, error, "cannot be opened as a canvas; delete it or choose another") from error
        present = dict(self._group.attrs)
        for name in [*wanted, *present]:  # the first difference is named
            if present.get(name) != wanted.get(name):
                raise CanvasError(
                    f"{path}: the canvas was started with {name} = {present.get(name)}, not {wanted.get(name)}; "
                    "use the same, or start again with --overwrite"
                )

    def lock(self) -> FolderLock:
        """The lock that a run holds while it samples: a context manager, see `run_folder.FolderLock`."""
        return FolderLock(self.path)

    def stage(self, name: str, grid: Grid, image_px: int) -> "StageCanvas":
        """Opens the canvas of one stage of a level, or makes it.

        Args:
            name: Its name, such as 'high-128'.
            grid: The patches, in pixels of the level's last stage.
            image_px: Side of the stage's images, which divides the grid's patches.

        Raises:
            CanvasError: It cannot be made, for instance because the disk is full.
        """
        store = PatchStore(self._group, name, self.path, self.run_id, (grid.rows, grid.cols, image_px))
        return StageCanvas(store, Mosaic(grid, image_px), self.config.fill)

    def scratch(self, name: str, grid: Grid, image_px: int, cached: int) -> PatchStore:
        """Opens or makes a store of numbers, (S, S, 3) int16 a patch, that a stage needs until it is done.

        Args:
            name: Its name.
            grid: The patches.
            image_px: Side S of the stage's images.
            cached: Most bytes of it to keep in memory.
        """
        return PatchStore(self._group, name, self.path, self.run_id, (grid.rows, grid.cols, image_px), "int16", cached)

    def has_scratch(self, name: str) -> bool:
        """Whether such a store exists."""
        return (self.path / name / "zarr.json").exists()

    def drop_scratch(self, name: str) -> None:
        """Removes such a store, if it exists."""
        shutil.rmtree(self.path / name, ignore_errors=True)


def remove_canvas(path: Path, also: Collection[str] = ()) -> None:
    """Removes a canvas, if there is one, and never anything else.

    Args:
        path: Its folder.
        also: Names of files that the caller keeps in it.

    Raises:
        CanvasError: The folder is not a canvas or holds other files too, a run samples on it, or it cannot be removed.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise CanvasError(f"{path} is not a canvas; move it away, or choose another name")
    try:
        with FolderLock(path):
            paths = list(path.rglob("*"))
            stages = {child for child in path.iterdir() if (child / "zarr.json").exists()}
            for child in paths:
                inside = child.parent in stages and _STAGE_FILE.fullmatch(child.name)
                on_top = child.parent == path and (_CANVAS_FILE.fullmatch(child.name) or child.name in also)
                if child not in stages and not inside and not on_top:
                    raise CanvasError(f"{child} is not part of a canvas; move it away, or choose another name")
            for child in paths:
                if child not in stages and child.name != LOCK_FILE:
                    child.unlink(missing_ok=True)
            for stage in stages:
                stage.rmdir()
        path.rmdir()
    except LockedError as error:
        raise CanvasError(str(error)) from None
    except OSError as error:
        raise canvas_error(path, error, "cannot be removed") from error


class StageCanvas:
    """The patches of one stage, and the image that they form.

    Args:
        store: The patches, uint8.
        mosaic: Their positions, and how they blend.
        fill: Colour outside the canvas.
    """

    def __init__(self, store: PatchStore, mosaic: Mosaic, fill: tuple[int, int, int]) -> None:
        self.store, self.mosaic, self.fill = store, mosaic, fill
        self.image_px, self.size_px = mosaic.image_px, mosaic.size_px
        self._blocks = TileCache(CACHED_BYTES)

    @property
    def done(self) -> set[Position]:
        """The patches that are finished."""
        return self.store.done

    def write(self, position: Position, pixels: NDArray[np.uint8]) -> None:
        """Stores a finished patch, (S, S, 3), whole or not at all.

        Raises:
            CanvasError: The disk is full, or it cannot be written.
        """
        self.store.write(position, pixels)

    def picture(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Reads a window of whole pixels of the picture, (height, width, 3) uint8; black where nothing is done.

        Raises:
            CanvasError: A patch on disk is damaged.
        """
        pixels = np.empty((height, width, 3), np.uint8)
        for top in range(y // BLOCK_PX * BLOCK_PX, y + height, BLOCK_PX):
            for left in range(x // BLOCK_PX * BLOCK_PX, x + width, BLOCK_PX):
                x0, x1 = max(x, left), min(x + width, left + BLOCK_PX)
                y0, y1 = max(y, top), min(y + height, top + BLOCK_PX)
                inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
                pixels[y0 - y : y1 - y, x0 - x : x1 - x] = self._block(left, top)[inside]
        return pixels

    def read(self, box: Box, size_px: int | tuple[int, int]) -> NDArray[np.uint8]:
        """Reads any box of the picture, in stage px, resampled to a square or to width and height; fill outside."""
        size = (size_px, size_px) if isinstance(size_px, int) else size_px
        extent = (float(self.size_px[0]), float(self.size_px[1]))
        return resample(self.picture, self.size_px, extent, box, size, self.fill)

    def held(self, position: Position, held: Iterable[Position]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Returns the pixels of the `held` patches in a patch's window, and how strongly each is held.

        The strength falls linearly across the overlap, from 1 at the patch's edge to 0 where the overlap ends, as the
        blending does: an abrupt end would show as a seam inside the patch.

        Returns:
            Pixels, (S, S, 3) uint8, and the strength, (S, S) in [0, 1].
        """
        window, positions = self.mosaic.window(position), frozenset(held)
        weight = self.mosaic.weight(window, positions)
        hold = np.asarray(weight / (weight + self.mosaic.weights(position)), np.float32)
        return self.mosaic.blend(window, positions, self.store.load, np.uint8), hold

    def patch_of(self, position: Position) -> NDArray[np.uint8]:
        """Returns the image in a patch's window, (S, S, 3): the patch, blended with its neighbours."""
        return self.picture(*self.mosaic.window(position))

    def _block(self, x: int, y: int) -> NDArray[np.uint8]:
        """A block of the picture, (BLOCK_PX, BLOCK_PX, 3), which must not be changed; cached if it is finished."""
        block = self._blocks.get((x, y))
        if block is None:
            window = (x, y, BLOCK_PX, BLOCK_PX)
            finished = self.done.issuperset(self.mosaic.positions_at(*window))
            block = self.mosaic.blend(window, self.done, self.store.load, np.uint8)
            if finished:
                self._blocks.put((x, y), block)
        return block
