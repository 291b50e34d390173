"""Aperio's slides: with JPEG tiles, read here to the same pixels as OpenSlide reads, in half the time."""

from wsi_tiling.errors import SlideError
from wsi_tiling.reading.formats.openslide_slide import open_with_openslide
from wsi_tiling.reading.formats.slide_format import OpenOptions, SlideFile, SlideFormat
from wsi_tiling.reading.slide import Slide
from wsi_tiling.reading.tiff.levels import JPEG, UPRIGHT, UnsupportedTiffError
from wsi_tiling.reading.tiff.slide import TiffSlide


def _matches(file: SlideFile) -> bool:
    return file.vendor == "aperio"


def _open(file: SlideFile, options: OpenOptions) -> Slide:
    """Opens the slide with the reader of this package if that finds just what OpenSlide finds, else with OpenSlide."""
    slide = open_with_openslide(file, options)
    try:
        own = TiffSlide(file.path, mpp=slide.mpp, background=slide.stated_background, cache_mib=options.cache_mib)
    except UnsupportedTiffError:
        return slide
    except SlideError:
        slide.close()
        raise
    is_usual = all(
        layout.compression == JPEG and layout.lengths.all() and layout.turn == UPRIGHT for layout in own.layouts
    )
    if not is_usual or own.levels != slide.levels:
        own.close()
        return slide
    own.take_facts(slide)
    slide.close()
    return own


APERIO = SlideFormat(frozenset({".svs"}), _matches, _open)
