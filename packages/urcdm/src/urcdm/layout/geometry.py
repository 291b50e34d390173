"""Geometry of the levels' canvases, their patches and the contexts of patches, without rounding.

A canvas is the image of a whole slide at the scale of one level. Patches begin at whole pixels of every stage of
their level; contexts are read at exact, fractional positions of the parent's canvas.
"""

import math
from dataclasses import dataclass

from cdm_core import CascadeConfig
from urcdm.config import Level, UrcdmConfig
from urcdm.errors import SlideSizeError
from wsi_tiling import Grid

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


@dataclass(frozen=True)
class LevelGeometry:
    """The canvas of one level.

    Args:
        level: The level.
        grid: Its patches, in pixels of the level.
        origin_l0: The canvas's corner on the slide, level-0 px (x, y); negative where the first level shows background
            around a smaller slide.
    """

    level: Level
    grid: Grid
    origin_l0: tuple[float, float]

    @property
    def canvas_px(self) -> tuple[int, int]:
        """Width and height of the canvas; up to a multiple of the first stage's pixel larger than the slide."""
        return self.grid.canvas_px

    def box_l0(self, row: int, col: int) -> Box:
        """The field of a patch on the slide, level-0 px."""
        x_px, y_px = self.grid.origin(row, col)
        x, y = self.origin_l0[0] + x_px * self.level.scale, self.origin_l0[1] + y_px * self.level.scale
        return (x, y, x + self.level.field_l0, y + self.level.field_l0)

    def to_px(self, box_l0: Box) -> Box:
        """A box on the slide in pixels of this canvas."""
        x, y = self.origin_l0
        x0, y0, x1, y1 = box_l0
        scale = self.level.scale
        return ((x0 - x) / scale, (y0 - y) / scale, (x1 - x) / scale, (y1 - y) / scale)


def plan_geometry(
    config: UrcdmConfig, cascades: tuple[CascadeConfig, ...], size_l0: tuple[int, int]
) -> tuple[LevelGeometry, ...]:
    """Lays out the canvases of a slide.

    The first level is one image, centred on the slide. Every other canvas begins at the slide's corner and is as large
    as the slide, or as one patch if the slide is smaller. A single level has such a canvas, too.

    Args:
        config: The ultra-resolution cascade.
        cascades: The cascade of each level.
        size_l0: Width and height of the slide, level-0 px.

    Raises:
        SlideSizeError: The slide is empty, or larger than the field of the first level of several.
    """
    first, alone = config.levels[0], len(config.levels) == 1
    if alone and min(size_l0) < 1:
        raise SlideSizeError(f"wanted a slide of 1 px a side or more; got {size_l0[0]} x {size_l0[1]}")
    if not alone and (min(size_l0) < 1 or max(size_l0) > first.field_l0):
        raise SlideSizeError(
            f"wanted a slide of 1 to {first.field_l0:g} px a side, the field of level '{first.name}'; "
            f"got {size_l0[0]} x {size_l0[1]}"
        )
    corner = ((size_l0[0] - first.field_l0) / 2, (size_l0[1] - first.field_l0) / 2)
    whole = Grid((first.image_px, first.image_px), first.image_px, 0.0)
    geometries = [] if alone else [LevelGeometry(first, whole, corner)]
    for level, cascade in list(zip(config.levels, cascades, strict=True))[len(geometries) :]:
        multiple = first_stage_pixel(cascade)
        sides = [max(level.image_px, math.ceil(side / level.scale / multiple) * multiple) for side in size_l0]
        grid = Grid((sides[0], sides[1]), level.image_px, config.overlap, multiple)
        geometries.append(LevelGeometry(level, grid, (0.0, 0.0)))
    return tuple(geometries)


def first_stage_pixel(cascade: CascadeConfig) -> int:
    """Side, in pixels of the last stage, of a square that holds whole pixels at every stage."""
    last = cascade.stages[-1].image_px
    sides = [stage.image_px for stage in cascade.stages]
    if cascade.stages[0].lowres_px is not None:
        sides.append(cascade.stages[0].lowres_px)
    return math.lcm(*(last // math.gcd(last, side) for side in sides))


def context_box(centre_px: tuple[float, float], field_px: float) -> Box:
    """A square box of side `field_px` around a centre, in pixels of one canvas."""
    x, y = centre_px
    half = field_px / 2
    return (x - half, y - half, x + half, y + half)
