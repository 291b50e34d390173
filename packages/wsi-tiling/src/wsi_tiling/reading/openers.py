"""Opening slides: the table of formats. The first whose `matches` is true opens the file."""

import os
from pathlib import Path

from wsi_tiling.errors import SlideError
from wsi_tiling.reading.formats.aperio import APERIO
from wsi_tiling.reading.formats.images import IMAGE
from wsi_tiling.reading.formats.openslide_slide import OPENSLIDE
from wsi_tiling.reading.formats.plain_tiff import PLAIN_TIFF
from wsi_tiling.reading.formats.slide_format import OpenOptions, SlideFile
from wsi_tiling.reading.slide import Slide, checked_mpp
from wsi_tiling.region import Colour

DEFAULT_CACHE_MIB = 32.0
FORMATS = (
    PLAIN_TIFF,
    APERIO,
    OPENSLIDE,
    IMAGE,
)
SLIDE_SUFFIXES = frozenset[str]().union(*(each.suffixes for each in FORMATS))
"""Suffixes of the files that `find_slides` takes from folders, besides DICOM files, of which it takes one a slide."""


def open_slide(
    path: str | os.PathLike[str],
    *,
    mpp: float | None = None,
    background: Colour | None = None,
    cache_mib: float = DEFAULT_CACHE_MIB,
) -> Slide:
    """Opens a slide or an image.

    Scanners' formats are read by OpenSlide, Aperio's with JPEG tiles as OpenSlide would read them but in half the time.
    TIFF, BigTIFF and OME-TIFF files are read here, tile by tile or strip by strip, with all their levels; small ones in
    strips, and PNG and JPEG files, are read into memory. A stated resolution coarser than 20 micrometres a pixel is
    that of a printer or a screen and is not believed.

    Args:
        path: The file.
        mpp: Micrometres a level-0 pixel, in place of what the file says.
        background: Colour outside the slide, in place of the file's or an estimate.
        cache_mib: Memory, MiB, that each process may give to this slide's decoded tiles.

    Raises:
        SlideError: The file is missing, damaged, too large an image, of no known kind or of more than 8 bits a
            channel; it holds planes or stains instead of one image; or an argument is out of range.
    """
    options = OpenOptions(checked_mpp(mpp), background, cache_mib)
    file = SlideFile.inspect(Path(path))
    for slide_format in FORMATS:
        if slide_format.matches(file):
            return slide_format.open(file, options)
    raise SlideError(f"{path} is not a slide that OpenSlide knows, nor a TIFF, PNG or JPEG file, or it is damaged")
