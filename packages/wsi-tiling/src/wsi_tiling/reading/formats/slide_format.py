"""The interface of a format, and the facts by which formats recognise a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import openslide

from run_folder import first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.reading.tiff.file import check_structure, is_tiff
from wsi_tiling.region import Colour

_NDPI_VENDOR = "hamamatsu"
"""NDPI files break the rules of TIFF in ways that only OpenSlide knows."""


@dataclass(frozen=True)
class SlideFile:
    """A file, and what its first bytes say of its format.

    Args:
        path: The file.
        vendor: OpenSlide's name of the format, None if OpenSlide does not know it.
        is_tiff: Whether it begins as TIFF and BigTIFF files do.
    """

    path: Path
    vendor: str | None
    is_tiff: bool

    @classmethod
    def inspect(cls, path: Path) -> "SlideFile":
        """Looks at the beginning of a file.

        Raises:
            SlideError: The file is missing or cannot be read.
        """
        if not path.is_file():
            raise SlideError(f"{path}: no such file")
        try:
            return cls(path, openslide.OpenSlide.detect_format(path), is_tiff(path))
        except (OSError, openslide.OpenSlideError) as error:
            raise SlideError(f"{path} cannot be read: {first_line(error)}") from error

    @property
    def suffix(self) -> str:
        """The suffix of its name, in lower case."""
        return self.path.suffix.lower()

    def check_for_openslide(self) -> None:
        """Raises SlideError if OpenSlide should not read this file: a TIFF file that is cut short or damaged."""
        if self.is_tiff and self.vendor != _NDPI_VENDOR:
            check_structure(self.path)


@dataclass(frozen=True)
class OpenOptions:
    """How to open a slide; see `wsi_tiling.open_slide`.

    Args:
        mpp: Micrometres a level-0 pixel, None for what the file says.
        background: Colour outside the slide, None for the file's or an estimate.
        cache_mib: Memory, MiB, that each process may give to decoded tiles.
    """

    mpp: float | None
    background: Colour | None
    cache_mib: float


@dataclass(frozen=True)
class SlideFormat:
    """A format of slides.

    Args:
        suffixes: Suffixes, in lower case, of the files that a search of folders takes.
        matches: Whether a file is of this format.
        open: Opens a file of this format; raises SlideError if it is damaged or holds no slide.
    """

    suffixes: frozenset[str]
    matches: Callable[[SlideFile], bool]
    open: Callable[[SlideFile, OpenOptions], Slide]
