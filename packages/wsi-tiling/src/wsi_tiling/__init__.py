"""Whole-slide images in, training tiles out; tiles in, whole-slide images out.

Images are (H, W, 3) uint8 RGB. Points are (x, y), sizes (width, height). Names that end in `_l0` are in pixels of
level 0, the largest of a slide; those that end in `_px` are in pixels of the image at hand.

What needs pandas, tables above all, is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from run_folder import lazy_names
from wsi_tiling.derived_images import derived_png
from wsi_tiling.errors import SlideError
from wsi_tiling.grid import Grid
from wsi_tiling.reading.concentric import read_concentric
from wsi_tiling.reading.labels import open_labels, read_labels
from wsi_tiling.reading.openers import SLIDE_SUFFIXES, open_slide
from wsi_tiling.reading.slide import ArraySlide, Slide, load_into_memory
from wsi_tiling.reading.slide_files import PassedOver, SlideSearch, find_slides, slide_files
from wsi_tiling.reading.slide_identity import check_distinct, check_identities, slide_identity
from wsi_tiling.reading.tile_cache import TileCache
from wsi_tiling.region import Colour, Image, read_region, resample
from wsi_tiling.running.executors import LocalTaskExecutor, ProcessTaskExecutor, TaskExecutor
from wsi_tiling.running.on_ray import RayTaskExecutor, connect_to_ray
from wsi_tiling.tissue.rule import RECOMMENDED, STRICT, STUDY, TissueRule, resolve_rule, shows_tissue, tissue_mask
from wsi_tiling.writing.pyramid import PyramidWriter

if TYPE_CHECKING:
    from wsi_tiling.running.many_slides import (
        SlideSetAside,
        SlideTiled,
        TileField,
        TileSettings,
        saved_but_not_given,
        saved_tiles,
        tile_slides,
    )
    from wsi_tiling.running.slide_results import SlideResults, check_names
    from wsi_tiling.shards.export import SHARDS_FILE, ShardWritten, export_shards
    from wsi_tiling.shards.reader import ShardTiles, read_shards
    from wsi_tiling.shards.writer import ShardSettings
    from wsi_tiling.tables.crops import dihedral, dihedral_inverse, random_crops
    from wsi_tiling.tables.fields import whole_slide_fields
    from wsi_tiling.tables.overviews import overview
    from wsi_tiling.tables.splits import check_no_leak, split_by_group
    from wsi_tiling.tables.table import TileTable
    from wsi_tiling.tables.tiles import find_tiles

__all__ = [
    "RECOMMENDED",
    "SHARDS_FILE",
    "SLIDE_SUFFIXES",
    "STRICT",
    "STUDY",
    "ArraySlide",
    "Colour",
    "Grid",
    "Image",
    "LocalTaskExecutor",
    "PassedOver",
    "ProcessTaskExecutor",
    "PyramidWriter",
    "RayTaskExecutor",
    "ShardSettings",
    "ShardTiles",
    "ShardWritten",
    "Slide",
    "SlideError",
    "SlideResults",
    "SlideSearch",
    "SlideSetAside",
    "SlideTiled",
    "TaskExecutor",
    "TileCache",
    "TileField",
    "TileSettings",
    "TileTable",
    "TissueRule",
    "check_distinct",
    "check_identities",
    "check_names",
    "check_no_leak",
    "connect_to_ray",
    "derived_png",
    "dihedral",
    "dihedral_inverse",
    "export_shards",
    "find_slides",
    "find_tiles",
    "load_into_memory",
    "open_labels",
    "open_slide",
    "overview",
    "random_crops",
    "read_concentric",
    "read_labels",
    "read_region",
    "read_shards",
    "resample",
    "resolve_rule",
    "saved_but_not_given",
    "saved_tiles",
    "shows_tissue",
    "slide_files",
    "slide_identity",
    "split_by_group",
    "tile_slides",
    "tissue_mask",
    "whole_slide_fields",
]

__getattr__ = lazy_names(
    __name__,
    {
        "running.many_slides": [
            "SlideSetAside",
            "SlideTiled",
            "TileField",
            "TileSettings",
            "saved_but_not_given",
            "saved_tiles",
            "tile_slides",
        ],
        "running.slide_results": ["SlideResults", "check_names"],
        "shards.export": ["SHARDS_FILE", "ShardWritten", "export_shards"],
        "shards.reader": ["ShardTiles", "read_shards"],
        "shards.writer": ["ShardSettings"],
        "tables.crops": ["dihedral", "dihedral_inverse", "random_crops"],
        "tables.fields": ["whole_slide_fields"],
        "tables.overviews": ["overview"],
        "tables.splits": ["check_no_leak", "split_by_group"],
        "tables.table": ["TileTable"],
        "tables.tiles": ["find_tiles"],
    },
)
