"""One level of a run: its patches to sample, and the conditions of each."""

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from urcdm.canvas.canvas import Canvas, StageCanvas
from urcdm.execution.tasks import PatchTask, patch_seed
from urcdm.layout.context import read_context
from urcdm.layout.geometry import Box, LevelGeometry
from urcdm.layout.order import PatchGrid, Position
from urcdm.model import Urcdm
from urcdm.settings import RunSettings
from wsi_tiling import TissueRule, tissue_mask

TISSUE_PX = 4096
"""Longest side of the image of a canvas in which tissue is segmented."""


class Parent:
    """The finished image of the level above.

    Args:
        canvas: Its patches.
        geometry: Its position on the slide.
    """

    def __init__(self, canvas: StageCanvas, geometry: LevelGeometry) -> None:
        self.canvas, self.geometry = canvas, geometry

    def box(self, child: LevelGeometry, position: Position) -> Box:
        """The field of a patch of the level below, in pixels of this canvas."""
        return self.geometry.to_px(child.box_l0(*position))

    def tissue(self, rule: TissueRule) -> tuple[NDArray[np.bool_], float]:
        """Marks the tissue in an image of this canvas, (H, W) bool; also returns the canvas pixels to one pixel of it.

        The sides by which the rule erodes and dilates are canvas pixels, so they shrink with the image.
        """
        width, height = self.canvas.size_px
        shrink = max(1.0, max(width, height) / TISSUE_PX)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        picture = self.canvas.read((0, 0, width, height), size)
        return tissue_mask(picture, rule.shrunk(shrink), self.geometry.level.scale * shrink), shrink


class LevelRun:
    """One level of a slide, sampled or to be sampled.

    Args:
        model: The model.
        settings: The slide.
        canvas: The store of the run.
        number: Number of the level, from 0.
        parent: The finished image of the level above, None for the first.
    """

    def __init__(self, model: Urcdm, settings: RunSettings, canvas: Canvas, number: int, parent: Parent | None) -> None:
        self.model, self.settings, self.canvas, self.number, self.parent = model, settings, canvas, number, parent
        self.config = model.cascades[number].config
        self.geometry = model.geometry(settings.size_l0)[number]
        self._stages: dict[int, StageCanvas] = {}

    @cached_property
    def order(self) -> PatchGrid:
        """The patches to sample, in their order."""
        return PatchGrid(self.geometry.grid, self._without_tissue())

    @cached_property
    def skipped(self) -> list[Position]:
        """The patches that are not sampled: they are the parent's image, enlarged."""
        return [(int(row), int(col)) for row, col in np.argwhere(self.order.skipped)]

    @property
    def picture(self) -> StageCanvas:
        """The level's image: the patches of its last stage."""
        return self.stage(len(self.config.stages) - 1)

    def stage(self, index: int) -> StageCanvas:
        """Opens the canvas of a stage, or makes it; this one and the one before stay open."""
        if index not in self._stages:
            side = self.config.stages[index].image_px
            opened = self.canvas.stage(f"{self.geometry.level.name}-{side}", self.geometry.grid, side)
            self._stages = {number: stage for number, stage in self._stages.items() if number == index - 1}
            self._stages[index] = opened
        return self._stages[index]

    def as_parent(self) -> Parent:
        """The level, finished, as the parent of the next."""
        return Parent(self.picture, self.geometry)

    def conditions(self, index: int, position: Position) -> PatchTask:
        """The task of a patch with its context and low-resolution image, which come from finished levels and stages.

        Args:
            index: Number of the stage, from 0; the stage before it is finished.
            position: The patch.
        """
        config = self.config.stages[index]
        context = lowres = None
        if self.parent is not None:
            x0, y0, x1, y1 = self.parent.box(self.geometry, position)
            read = read_context(
                self.parent.canvas.read,
                ((x0 + x1) / 2, (y0 + y1) / 2),
                self.model.config,
                self.parent.geometry.level,
                self.geometry.level,
                config.image_px,
                config.lowres_px if index == 0 else None,
            )
            context, lowres = read.images, read.centre
        if index:
            lowres = self.stage(index - 1).patch_of(position)
        seed = patch_seed(self.settings.seed, self.number, index, position)
        return PatchTask(self.number, index, position, seed, context, lowres)

    def enlarged_parent(self, position: Position, image_px: int) -> NDArray[np.uint8]:
        """The parent's image of the field of a patch, (S, S, 3)."""
        if self.parent is None:
            raise ValueError("the first level has no parent")
        return self.parent.canvas.read(self.parent.box(self.geometry, position), image_px)

    def _without_tissue(self) -> NDArray[np.bool_]:
        """Marks the patches whose field on the parent's canvas shows no tissue, (rows, cols) bool."""
        grid = self.geometry.grid
        without = np.zeros((grid.rows, grid.cols), bool)
        rule = self.model.config.tissue
        if self.parent is None or rule.accepts_everything:
            return without
        mask, shrink = self.parent.tissue(rule)
        for row, col in grid:
            x0, y0, x1, y1 = (edge / shrink for edge in self.parent.box(self.geometry, (row, col)))
            left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
            without[row, col] = not mask[top : math.ceil(y1), left : math.ceil(x1)].any()
        return without
