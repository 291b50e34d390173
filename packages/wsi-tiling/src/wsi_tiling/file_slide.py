"""What slides in files have in common: each process opens the file for itself, and threads share what it opened."""

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from wsi_tiling.errors import SlideError
from wsi_tiling.region import Colour
from wsi_tiling.slide import Slide

Opened = TypeVar("Opened")
_inherited: list[object] = []


class FileSlide(Slide, Generic[Opened]):
    """A slide whose file is opened when a process first reads from it.

    Args:
        path: The file.
        background: Colour outside the slide, None to take the file's or an estimate.
        cache_mib: How much memory, MiB, each process gives to decoded tiles.

    Raises:
        SlideError: The size of the cache is negative.
    """

    def __init__(self, path: Path, background: Colour | None, cache_mib: float) -> None:
        if not cache_mib >= 0:
            raise SlideError(f"wanted a cache of 0 MiB or more, got {cache_mib}")
        self.path: Path = path
        self.cache_bytes = int(cache_mib * 2**20)
        self._given_background = background
        self._closed = False
        self._opened: dict[int, Opened] = {}

    def close(self) -> None:
        """Lets go of the file, which is closed when reads under way have ended; reading then raises SlideError."""
        self._closed = True
        self._opened.pop(os.getpid(), None)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    @abstractmethod
    def _open(self) -> Opened:
        """Opens the file. What it returns closes itself when nobody holds it any more."""

    def _file(self) -> Opened:
        """The file as this process has it open."""
        if self._closed:
            raise SlideError(f"{self.path} is closed: open it again")
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            # What a parent opened is not to be used after a fork, nor closed: its locks and file position are shared.
            _inherited.extend(self._opened.values())
            opened = self._opened.setdefault(pid, self._open())
        return opened

    def _drop(self, spoilt: Opened) -> None:
        """Opens the file anew at the next read, unless another thread has seen to it."""
        if self._opened.get(os.getpid()) is spoilt:
            self._opened.pop(os.getpid(), None)

    @property
    def stated_background(self) -> Colour | None:
        """The background that was given, None if none was."""
        return self._given_background
