"""Patches on disk, one chunk of a zarr array each, written whole or not at all; and patches in memory."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from run_folder import DISK_FULL, first_line, is_disk_full
from urcdm.errors import CanvasError
from urcdm.layout.order import Position
from wsi_tiling import TileCache

CACHED_BYTES = 32 * 2**20
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors that zarr raises when its metadata is damaged: whatever its parser meets."""
_CHUNK = re.compile(r"c\.(\d+)\.(\d+)\.0\.0\.0")


class PatchStore:
    """The patches of a grid, (S, S, 3) each.

    Args:
        group: zarr group that it belongs to.
        name: Its name in the group, such as 'high-128'.
        path: Folder of the group.
        run_id: Digest of the run's identity, which the array on disk carries.
        shape: Rows and columns of the grid, and S.
        dtype: 'uint8' or 'int16'; the first is compressed. Both carry a checksum.
        cached: Most bytes of patches to keep in memory.

    Raises:
        CanvasError: It belongs to another run, or cannot be made, for instance because the disk is full.
    """

    def __init__(
        self,
        group: zarr.Group,
        name: str,
        path: Path,
        run_id: str,
        shape: tuple[int, int, int],
        dtype: str = "uint8",
        cached: int = CACHED_BYTES,
    ) -> None:
        rows, cols, side = shape
        self.path = path / name
        try:
            if name in group:
                self._array: Any = group[name]
            else:
                self._array = _new_array(group, name, run_id, (rows, cols, side), dtype)
            self._metadata = self._stat_metadata()
        except UNREADABLE as error:
            raise canvas_error(self.path, error, "cannot be opened; delete the canvas or choose another") from error
        if self._array.attrs.get("run") != run_id:
            raise CanvasError(f"{self.path}: these patches are of another run; start again with --overwrite")
        self._cache = TileCache(cached)
        self.done = self._find_done()

    def write(self, position: Position, pixels: NDArray[Any]) -> None:
        """Stores a finished patch, (S, S, 3), whole or not at all; the array must not be changed afterwards.

        Raises:
            CanvasError: The disk is full, it cannot be written, or another run has replaced the canvas.
        """
        self._check_same_run()
        try:
            self._array[position[0], position[1]] = pixels
        except OSError as error:
            raise canvas_error(self.path, error, "cannot be written") from error
        self._cache.put(position, pixels)
        self.done.add(position)

    def load(self, position: Position) -> NDArray[Any]:
        """Gives a finished patch, (S, S, 3), which must not be changed.

        Raises:
            CanvasError: It is damaged, or another run has replaced the canvas.
        """
        pixels = self._cache.get(position)
        if pixels is None:
            pixels = self._read(position)
            self._cache.put(position, pixels)
        return pixels

    def _read(self, position: Position) -> NDArray[Any]:
        self._check_same_run()
        try:
            return np.asarray(self._array[position[0], position[1]])
        except (OSError, RuntimeError, ValueError) as error:
            file = self.path / f"c.{position[0]}.{position[1]}.0.0.0"
            raise CanvasError(f"{file}: this patch is damaged ({error}); delete it and resume") from error

    def _check_same_run(self) -> None:
        """Raises CanvasError if another run has replaced the array that was opened."""
        try:
            metadata = self._stat_metadata()
        except OSError:
            metadata = None
        if metadata != self._metadata:
            raise CanvasError(f"{self.path}: another run has replaced the canvas; resume with a canvas of your own")

    def _stat_metadata(self) -> tuple[int, int, int]:
        """Identifies the metadata file of the array, to tell it from a later one under the same name."""
        status = (self.path / "zarr.json").stat()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _find_done(self) -> set[Position]:
        matches = (_CHUNK.fullmatch(path.name) for path in self.path.iterdir())
        return {(int(match[1]), int(match[2])) for match in matches if match}


class PatchMemory:
    """Patches in memory, used as a `PatchStore` is.

    Args:
        saved: Store that patches are also written to and, if written before, read from.
    """

    def __init__(self, saved: PatchStore | None = None) -> None:
        self._saved = saved
        self._patches: dict[Position, NDArray[Any]] = {}
        self.done: set[Position] = set() if saved is None else set(saved.done)

    def write(self, position: Position, pixels: NDArray[Any]) -> None:
        """Stores a finished patch, (S, S, 3), which must not be changed afterwards.

        Raises:
            CanvasError: It cannot be saved.
        """
        if self._saved is not None:
            self._saved.write(position, pixels)
        self._patches[position] = pixels
        self.done.add(position)

    def load(self, position: Position) -> NDArray[Any]:
        """Gives a finished patch, (S, S, 3), which must not be changed.

        Raises:
            CanvasError: The saved patch is damaged.
        """
        pixels = self._patches.get(position)
        if pixels is None:
            if self._saved is None:
                raise KeyError(position)
            pixels = self._patches[position] = self._saved.load(position)
        return pixels


def canvas_error(path: Path, error: Exception, otherwise: str) -> CanvasError:
    """Makes a CanvasError of an error at a path."""
    if is_disk_full(error):
        return CanvasError(f"{path}: {DISK_FULL}")
    return CanvasError(f"{path}: {otherwise} ({first_line(error)})")


def _new_array(group: zarr.Group, name: str, run_id: str, shape: tuple[int, int, int], dtype: str) -> Any:
    rows, cols, side = shape
    return group.create_array(
        name,
        shape=(rows, cols, side, side, 3),
        chunks=(1, 1, side, side, 3),
        dtype=dtype,
        chunk_key_encoding={"name": "default", "separator": "."},  # no folders, which take long to remove
        compressors=ZstdCodec(level=1, checksum=True) if dtype == "uint8" else Crc32cCodec(),  # noise does not shrink
        attributes={"run": run_id},
        config={"write_empty_chunks": True},  # a patch is done if its chunk exists, so black ones need one too
    )
