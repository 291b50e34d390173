"""Slides in files: each process opens the file on its own, and its threads share it."""

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from wsi_tiling.checks import check_colour, check_number
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.region import Colour

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
        check_number("a cache of 0 MiB or more", cache_mib, least=0)
        if background is not None:
            check_colour(background)
        self.path: Path = path
        self.cache_bytes = int(cache_mib * 2**20)
        self._given_background = background
        self._closed = False
        self._opened: dict[int, Opened] = {}
        try:
            self._read_layout(self._file())
        except BaseException:
            self.close()  # not when the error, whose frames hold the file, is forgotten
            raise

    def close(self) -> None:
        """Closes the file, once the reads under way have ended; reading then raises SlideError."""
        self._closed = True
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            self._release(opened)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    @abstractmethod
    def _open(self) -> Opened:
        """Opens the file. The result has to close itself with its last reference."""

    @abstractmethod
    def _read_layout(self, opened: Opened) -> None:
        """Reads the slide's levels, scale and scanned region from the open file."""

    def _release(self, opened: Opened) -> None:
        """Closes what `_open` returned once no thread reads from it. Here: with its last reference."""

    def _file(self) -> Opened:
        """The file as this process has it open."""
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None and not self._closed:
            # What a parent opened is not to be used after a fork, nor closed: its locks and file position are shared.
            _inherited.extend(self._opened.values())
            own = self._open()
            opened = self._opened.setdefault(pid, own)
            if opened is not own:  # another thread was faster
                self._release(own)
        if self._closed or opened is None:
            self.close()  # a thread may have opened the file while another closed the slide
            raise SlideError(f"{self.path} is closed: open it again")
        return opened

    def _drop(self, spoilt: Opened) -> None:
        """Opens the file anew at the next read, unless another thread has seen to it."""
        if self._opened.get(os.getpid()) is spoilt:
            self._opened.pop(os.getpid(), None)

    @property
    def stated_background(self) -> Colour | None:
        """The background that was given, None if none was."""
        return self._given_background
