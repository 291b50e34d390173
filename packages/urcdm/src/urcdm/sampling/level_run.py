"""What the patches of a level are made of: which are drawn at all, and what each is conditioned on."""

import math

import numpy as np
from numpy.typing import NDArray

from urcdm.canvas.canvas import StageCanvas
from urcdm.execution.patch_task import PatchTask, patch_seed
from urcdm.layout.context import read_context
from urcdm.layout.geometry import LevelGeometry
from urcdm.layout.order import Cell, PatchGrid
from urcdm.model import Urcdm
from wsi_tiling import TissueRule, tissue_mask

TISSUE_PX = 4096
"""Longest side of the picture of a canvas in which tissue is looked for."""


class LevelRun:
    """One level of a slide that is being drawn.

    Args:
        model: The model.
        number: Number of the level, from 0.
        geometries: Where the canvases of the levels lie.
        parent: The finished picture of the level above, None for the first.
        seed: Of all noise.
    """

    def __init__(
        self,
        model: Urcdm,
        number: int,
        geometries: tuple[LevelGeometry, ...],
        parent: StageCanvas | None,
        seed: int,
    ) -> None:
        self.model, self.number, self.seed = model, number, seed
        self.config = model.cascades[number].config
        self.geometry = geometries[number]
        self.parent = None if parent is None else _Parent(parent, geometries[number - 1])
        self.order = PatchGrid(self.geometry.grid, self._without_tissue())

    @property
    def skipped(self) -> list[Cell]:
        """The patches that are not drawn: they are the parent's picture, enlarged."""
        return [(int(row), int(col)) for row, col in np.argwhere(self.order.skipped)]

    def conditions(self, stage: int, cell: Cell, below: StageCanvas | None) -> PatchTask:
        """The task of a patch as far as it depends on what is finished already: contexts and low-resolution image.

        Args:
            stage: Number of the stage, from 0.
            cell: The patch.
            below: The finished stage before, None for the first.
        """
        config = self.config.stages[stage]
        context = lowres = None
        if self.parent is not None:
            x0, y0, x1, y1 = self.parent.box(self.geometry, cell)
            read = read_context(
                self.parent.canvas.read,
                ((x0 + x1) / 2, (y0 + y1) / 2),
                self.model.config,
                self.parent.geometry.level,
                self.geometry.level,
                config.image_px,
                config.lowres_px if stage == 0 else None,
            )
            context, lowres = read.images, read.centre
        if below is not None:
            lowres = below.patch_of(cell)
        seed = patch_seed(self.seed, self.number, stage, cell)
        return PatchTask(self.number, stage, cell, seed, context, lowres)

    def enlarged_parent(self, cell: Cell, image_px: int) -> NDArray[np.uint8]:
        """The parent's picture at a patch's place, (S, S, 3)."""
        if self.parent is None:
            raise ValueError("the first level has no parent")
        return self.parent.canvas.read(self.parent.box(self.geometry, cell), image_px)

    def _without_tissue(self) -> NDArray[np.bool_]:
        """Marks the patches whose place on the parent's canvas holds no tissue, (rows, cols) bool."""
        grid = self.geometry.grid
        without = np.zeros((grid.rows, grid.cols), bool)
        rule = self.model.config.tissue
        if self.parent is None or rule.accepts_everything:
            return without
        mask, shrink = self.parent.tissue(rule)
        for row, col in grid:
            x0, y0, x1, y1 = (place / shrink for place in self.parent.box(self.geometry, (row, col)))
            left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
            without[row, col] = not mask[top : math.ceil(y1), left : math.ceil(x1)].any()
        return without


class _Parent:
    """The finished picture of the level above."""

    def __init__(self, canvas: StageCanvas, geometry: LevelGeometry) -> None:
        self.canvas, self.geometry = canvas, geometry

    def box(self, child: LevelGeometry, cell: Cell) -> tuple[float, float, float, float]:
        """The place of a patch of the level below, in pixels of this canvas."""
        return self.geometry.to_px(child.box_l0(*cell))

    def tissue(self, rule: TissueRule) -> tuple[NDArray[np.bool_], float]:
        """Marks the tissue in a picture of this canvas, (H, W) bool; also gives the canvas pixels to one of it.

        The sides by which the rule erodes and dilates are canvas pixels, so they shrink with the picture.
        """
        width, height = self.canvas.size_px
        shrink = max(1.0, max(width, height) / TISSUE_PX)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        picture = self.canvas.read((0, 0, width, height), size)
        return tissue_mask(picture, rule.shrunk(shrink), self.geometry.level.scale * shrink), shrink
