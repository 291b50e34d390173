"""Opening slides: OpenSlide's formats, TIFF and OME-TIFF files, and PNG and JPEG pictures."""

from pathlib import Path

import openslide

from wsi_tiling.errors import SlideError, first_line
from wsi_tiling.reading.images import MAX_PICTURE_PX, check_size, opaque_rgb, read_picture
from wsi_tiling.reading.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.slide import ArraySlide, Slide, checked_mpp
from wsi_tiling.reading.tiff.file import MAX_SEGMENT_PX, check_structure, is_tiff
from wsi_tiling.reading.tiff.levels import JPEG, UNCOMPRESSED, UPRIGHT, UnsupportedTiffError
from wsi_tiling.reading.tiff.slide import TiffSlide
from wsi_tiling.region import Colour

DEFAULT_CACHE_MIB = 32.0
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
_PLAIN_TIFF = "generic-tiff"
_APERIO = "aperio"
_BENT_TIFF = "hamamatsu"
"""NDPI files bend the rules of TIFF: only OpenSlide knows how."""


def open_slide(
    path: str | Path,
    *,
    mpp: float | None = None,
    background: Colour | None = None,
    cache_mib: float = DEFAULT_CACHE_MIB,
) -> Slide:
    """Opens a slide or a picture.

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
        SlideError: The file is missing, damaged, too large a picture, of no known kind or of more than 8 bits a
            channel; it holds planes or stains instead of one picture; or an argument is out of range.
    """
    path = Path(path)
    checked_mpp(mpp)
    if not path.is_file():
        raise SlideError(f"{path}: no such file")
    try:
        vendor = openslide.OpenSlide.detect_format(path)
        tiff = is_tiff(path)
    except (OSError, openslide.OpenSlideError) as error:
        raise SlideError(f"{path} cannot be read: {first_line(error)}") from error
    # A damaged slide may still hold a picture, a thumbnail even, so the name has to say that it is one.
    suffix = path.suffix.lower()
    unsupported: UnsupportedTiffError | None = None
    if tiff and (vendor == _PLAIN_TIFF or (vendor is None and suffix in _TIFF_SUFFIXES)):
        try:
            return _plain_tiff(path, mpp, background, cache_mib)
        except UnsupportedTiffError as error:
            if vendor is None:
                raise
            unsupported = error
    if vendor is not None:
        if tiff and vendor != _BENT_TIFF:
            check_structure(path)
        slide = OpenSlideSlide(path, mpp=mpp, background=background, cache_mib=cache_mib)
        if unsupported is not None and slide.size_l0 != unsupported.size_px:
            slide.close()
            raise unsupported  # OpenSlide takes another of the file's pictures for the slide
        return _read_here(slide, cache_mib) if vendor == _APERIO else slide
    if suffix in _PICTURE_SUFFIXES:
        return ArraySlide(read_picture(path), mpp=mpp, background=background, path=path)
    raise SlideError(f"{path} is not a slide that OpenSlide knows, nor a TIFF, PNG or JPEG file, or it is damaged")


def _read_here(slide: OpenSlideSlide, cache_mib: float) -> Slide:
    """The same slide through our own reader, where that finds just what OpenSlide finds; else the slide itself."""
    try:
        own = TiffSlide(slide.path, mpp=slide.mpp, background=slide.stated_background, cache_mib=cache_mib)
    except UnsupportedTiffError:
        return slide
    except SlideError:
        slide.close()
        raise
    usual = all(
        layout.compression == JPEG and layout.lengths.all() and layout.turn == UPRIGHT for layout in own.layouts
    )
    if not usual or own.levels != slide.levels:
        own.close()
        return slide
    own.take_facts(slide)
    slide.close()
    return own


def _plain_tiff(path: Path, mpp: float | None, background: Colour | None, cache_mib: float) -> Slide:
    slide = TiffSlide(path, mpp=mpp, background=background, cache_mib=cache_mib)
    width, height = slide.size_l0
    layout = slide.layouts[0]
    large = any(
        level.segment_px[0] * level.segment_px[1] * level.samples > 4 * MAX_SEGMENT_PX
        and level.compression != UNCOMPRESSED
        for level in slide.layouts
    )
    if len(slide.layouts) == 1 and not layout.tiled and (large or width * height <= MAX_PICTURE_PX):
        with slide:
            check_size(path, width, height)
            image = opaque_rgb(slide._pixels(0, 0, 0, width, height))
        in_memory = ArraySlide(image, background=background, path=path)
        in_memory.take_facts(slide)
        return in_memory
    if large:
        slide.close()
        raise SlideError(f"{path}: its tiles are too large to be true, or to be read one by one")
    return slide
