"""Image files of every kind, read as 8-bit RGB or as label numbers: exactly, or not at all."""

from image_files.errors import ImageFileError
from image_files.folders import SUFFIXES, ImageList, list_images, paths_by_stem
from image_files.info import MAX_PX, Departure, ImageInfo
from image_files.reading import WHITE, describe, read_numbers, read_rgb

__all__ = [
    "MAX_PX",
    "SUFFIXES",
    "WHITE",
    "Departure",
    "ImageFileError",
    "ImageInfo",
    "ImageList",
    "describe",
    "list_images",
    "paths_by_stem",
    "read_numbers",
    "read_rgb",
]
