"""Decoded tiles, the last used of them, within a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray


class TileCache:
    """Keeps the arrays used last. Several threads may use it at once.

    Args:
        max_bytes: How much it keeps; an array larger than this is not kept at all.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._tiles: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """The array of a key, None if it is not kept (any more)."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Hashable, tile: NDArray[Any]) -> None:
        """Keeps an array, which must not be changed any more, and drops the least recently used ones."""
        if tile.nbytes > self.max_bytes:
            return
        with self._lock:
            replaced = self._tiles.pop(key, None)
            self.bytes += tile.nbytes - (0 if replaced is None else replaced.nbytes)
            self._tiles[key] = tile
            while self.bytes > self.max_bytes:
                self.bytes -= self._tiles.popitem(last=False)[1].nbytes
