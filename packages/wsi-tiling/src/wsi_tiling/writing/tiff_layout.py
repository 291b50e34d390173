"""The pages of a slide's TIFF file, laid out so that every reader finds the levels, the scale and the power.

Two layouts are in use. The plain one is a chain of tiled pages, reduced ones marked as such, with the scale in the
resolution tags; OpenSlide ('generic-tiff'), tifffile, libvips and QuPath read it. It cannot hold the objective power.
For a slide with an objective power, the layout is Aperio's (SVS): the description of the first page begins with
Aperio's name and holds `AppMag` and `MPP`, page 1 is a small image in strips, and no page is marked as reduced.
OpenSlide ('aperio'), tifffile ('svs') and Bio-Formats know a slide by that, whatever the file's name ends in.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from wsi_tiling.region import Image

_APERIO = "Aperio Image Library, as written by wsi-tiling"
THUMBNAIL_PX = 1024


@dataclass(frozen=True)
class SlideForm:
    """The form of a slide's file.

    Attributes:
        sizes: Width and height of each level, largest first, each half the one before.
        tile_px: Side of a tile.
        quality: JPEG quality; None for deflate.
        mpp: Micrometres a level-0 pixel, None if unknown.
        objective: Power of the objective; None for the plain layout.
        description: Free text.
    """

    sizes: tuple[tuple[int, int], ...]
    tile_px: int
    quality: int | None
    mpp: float | None
    objective: float | None
    description: str

    @property
    def thumbnail_level(self) -> int:
        """The largest level that can be the small image, the last one if none is small enough."""
        fitting = (level for level, size in enumerate(self.sizes) if max(size) <= THUMBNAIL_PX)
        return next(fitting, len(self.sizes) - 1)


def write_tiff(
    path: Path, form: SlideForm, tiles: Callable[[int], Iterable[bytes]], thumbnail: Callable[[], Image], *, big: bool
) -> None:
    """Puts a slide's file together.

    Args:
        path: The file to make.
        form: What it is to be.
        tiles: Called with a level; its encoded tiles, row by row.
        thumbnail: The image of `form.thumbnail_level`; called if the layout has a small image.
        big: Whether to write BigTIFF.

    Raises:
        OSError: The file cannot be written.
    """
    aperio = form.objective is not None
    with tifffile.TiffWriter(path, bigtiff=big) as tiff:
        for level, (width, height) in enumerate(form.sizes):
            tiff.write(
                iter(tiles(level)),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(form.tile_px, form.tile_px),
                photometric="rgb",
                compression="adobe_deflate" if form.quality is None else "jpeg",
                subsampling=None if form.quality is None else (2, 2),
                subfiletype=0 if aperio else min(level, 1),
                resolution=None if form.mpp is None else (1e4 / (form.mpp * 2**level),) * 2,
                resolutionunit="NONE" if form.mpp is None else "CENTIMETER",
                # As bytes, for tifffile takes no text beyond ASCII. Readers take it as UTF-8.
                description=_description(form, level).encode() or None,
                software="wsi-tiling",
                metadata=None,
            )
            if aperio and level == 0:
                _write_thumbnail(tiff, form, thumbnail())


def _write_thumbnail(tiff: tifffile.TiffWriter, form: SlideForm, picture: Image) -> None:
    (width, height), (small_x, small_y) = form.sizes[0], picture.shape[1::-1]
    tiff.write(
        picture,
        photometric="rgb",
        rowsperstrip=16,
        compression="jpeg",
        compressionargs={"level": 85},
        subsampling=(2, 2),
        subfiletype=0,
        description=f"{_APERIO}\r\n{width}x{height} -> {small_x}x{small_y} - ",
        software="wsi-tiling",
        metadata=None,
    )


def _description(form: SlideForm, level: int) -> str:
    if form.objective is None:
        return "" if level else form.description
    (width, height), (own_x, own_y), side = form.sizes[0], form.sizes[level], form.tile_px
    scaled = f" -> {own_x}x{own_y}" if level else ""
    coding = "DEFLATE" if form.quality is None else f"JPEG/RGB Q={form.quality}"
    head = f"{_APERIO}\r\n{width}x{height} [0,0 {width}x{height}] ({side}x{side}){scaled} {coding}"
    text = [f"Description = {form.description}"] if form.description and not level else []
    mpp = [] if form.mpp is None else [f"MPP = {form.mpp:.12g}"]
    # Readers split this at each bar and believe the last of two values, so the true ones come after the free text.
    return "|".join([head, *text, f"AppMag = {form.objective:g}", *mpp])
