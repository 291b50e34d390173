"""TIFF, BigTIFF and OME-TIFF files that no scanner's rules apply to, read tile by tile or strip by strip."""

from wsi_tiling.errors import SlideError
from wsi_tiling.reading.formats.images import MAX_IMAGE_PX, check_size, opaque_rgb
from wsi_tiling.reading.formats.openslide_slide import open_with_openslide
from wsi_tiling.reading.formats.slide_format import OpenOptions, SlideFile, SlideFormat
from wsi_tiling.reading.slide import ArraySlide, Slide
from wsi_tiling.reading.tiff.file import MAX_SEGMENT_PX
from wsi_tiling.reading.tiff.levels import UNCOMPRESSED, UnsupportedTiffError
from wsi_tiling.reading.tiff.slide import TiffSlide

_SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf2", ".tf8"})
_VENDOR = "generic-tiff"


def _matches(file: SlideFile) -> bool:
    # A damaged slide may still hold an image, a thumbnail even, so the name has to say that it is a plain TIFF file.
    return file.is_tiff and (file.vendor == _VENDOR or (file.vendor is None and file.suffix in _SUFFIXES))


def _open(file: SlideFile, options: OpenOptions) -> Slide:
    try:
        return _open_here(file, options)
    except UnsupportedTiffError as unsupported:
        if file.vendor is None:
            raise
        slide = open_with_openslide(file, options)
        if slide.size_l0 != unsupported.size_px:
            slide.close()
            raise  # OpenSlide takes another of the file's images for the slide
        return slide


def _open_here(file: SlideFile, options: OpenOptions) -> Slide:
    slide = TiffSlide(file.path, mpp=options.mpp, background=options.background, cache_mib=options.cache_mib)
    width, height = slide.size_l0
    is_large = any(
        level.segment_px[0] * level.segment_px[1] * level.samples > 4 * MAX_SEGMENT_PX
        and level.compression != UNCOMPRESSED
        for level in slide.layouts
    )
    is_one_strip_image = len(slide.layouts) == 1 and not slide.layouts[0].tiled
    if is_one_strip_image and (is_large or width * height <= MAX_IMAGE_PX):
        with slide:
            check_size(file.path, width, height)
            image = opaque_rgb(slide._pixels(0, 0, 0, width, height))
        in_memory = ArraySlide(image, background=options.background, path=file.path)
        in_memory.take_facts(slide)
        return in_memory
    if is_large:
        slide.close()
        raise SlideError(f"{file.path}: its tiles are too large to be true, or to be read one by one")
    return slide


PLAIN_TIFF = SlideFormat(_SUFFIXES, _matches, _open)
