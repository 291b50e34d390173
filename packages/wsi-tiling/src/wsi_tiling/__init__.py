"""Whole-slide images in, training tiles out; tiles in, whole-slide images out.

Pictures are (H, W, 3) uint8 RGB. Points are (x, y), sizes (width, height). Names that end in `_l0` are in pixels of
level 0, the largest of a slide; those that end in `_px` are in pixels of the picture at hand.
"""

from wsi_tiling.concentric import read_concentric
from wsi_tiling.errors import SlideError
from wsi_tiling.files import open_slide
from wsi_tiling.grid import Grid
from wsi_tiling.pyramid import PyramidWriter
from wsi_tiling.region import read_region
from wsi_tiling.slide import ArraySlide, Slide, load_into_memory
from wsi_tiling.tiles import TileTable, find_tiles, overview
from wsi_tiling.tissue import STRICT, STUDY, TissueRule, tissue_mask

__all__ = [
    "STRICT",
    "STUDY",
    "ArraySlide",
    "Grid",
    "PyramidWriter",
    "Slide",
    "SlideError",
    "TileTable",
    "TissueRule",
    "find_tiles",
    "load_into_memory",
    "open_slide",
    "overview",
    "read_concentric",
    "read_region",
    "tissue_mask",
]
