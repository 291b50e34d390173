"""A slide from noise: level by level, stage by stage over the whole grid, ready patches together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdm_core.inference import Precision
from urcdm.canvas import Canvas, StageCanvas
from urcdm.config import UrcdmConfig
from urcdm.context import read_context
from urcdm.geometry import LevelGeometry
from urcdm.model import Urcdm
from urcdm.order import Cell, PatchGrid
from urcdm.tasks import Executor, PatchTask, StageKey, patch_seed
from wsi_tiling import tissue_mask


@dataclass(frozen=True)
class RunSettings:
    """What decides the pixels of a slide, besides the model.

    Args:
        size_l0: Width and height of the slide, level-0 px.
        seed: Of all noise.
        steps: Denoising steps of every stage; each stage's own if None.
        resample: How often each step is run where pixels are held; more costs time and joins patches better.
        precision: What the executor's networks calculate in. Two precisions on one canvas would differ by more than
            rounding where patches meet; whether networks are compiled, and the batch, change no more than that.
    """

    size_l0: tuple[int, int]
    seed: int = 0
    steps: int | None = None
    resample: int = 1
    precision: Precision = "fp32"

    def identity(self, model: Urcdm) -> dict[str, str | int | float]:
        """Returns what a canvas remembers, so that only the same run resumes from it.

        Args:
            model: The model as it was loaded, before its networks are prepared in a precision.
        """
        return {
            "model": model.fingerprint(),
            "seed": self.seed,
            "width": self.size_l0[0],
            "height": self.size_l0[1],
            "steps": self.steps or "default",
            "resample": self.resample,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Progress:
    """How far one stage of one level is, in patches that are sampled; and how many took their parent's picture."""

    level: str
    image_px: int
    done: int
    total: int
    skipped: int


def generate(
    model: Urcdm,
    canvas: Canvas,
    executor: Executor,
    settings: RunSettings,
    *,
    batch: int | Mapping[StageKey, int] = 8,
) -> Iterator[Progress]:
    """Draws a slide onto a canvas; patches that the canvas has already are not drawn again.

    Args:
        model: The model; its settings and geometry are used here, its networks by the executor.
        canvas: Where to, opened with `settings.identity(model)`.
        executor: Who samples the patches.
        settings: The slide.
        batch: Patches sampled together, in all stages or in each; changes time and memory, not the slide.

    Yields:
        Progress at the start of every stage, and after every batch.

    Raises:
        SlideSizeError: The slide is larger than the field of the first level.
        CanvasError: The canvas cannot be read or written.
    """
    parent: StageCanvas | None = None
    geometries = model.geometry(settings.size_l0)
    for number, geometry in enumerate(geometries):
        level = _LevelRun(model, number, geometries, parent, settings)
        below: StageCanvas | None = None
        for stage, config in enumerate(model.cascades[number].config.stages):
            stage_canvas = open_stage(canvas, geometry, config.image_px)
            together = batch if isinstance(batch, int) else batch[number, stage]
            yield from level.run_stage(stage, stage_canvas, below, executor, together)
            below = stage_canvas
        parent = below


def open_stage(canvas: Canvas, geometry: LevelGeometry, image_px: int) -> StageCanvas:
    """Opens the part of a canvas that belongs to the stage of a level with images of that side."""
    return canvas.stage(f"{geometry.level.name}-{image_px}", geometry.grid, image_px)


class _LevelRun:
    """The work of one level: which patches are drawn, in which order, and what each needs."""

    def __init__(
        self,
        model: Urcdm,
        number: int,
        geometries: tuple[LevelGeometry, ...],
        parent: StageCanvas | None,
        settings: RunSettings,
    ) -> None:
        self.model, self.number, self.settings, self.parent = model, number, settings, parent
        self.geometry = geometries[number]
        self.parent_geometry = geometries[number - 1] if number else None
        self.order = PatchGrid(self.geometry.grid, self._without_tissue())

    def run_stage(
        self, stage: int, canvas: StageCanvas, below: StageCanvas | None, executor: Executor, batch: int
    ) -> Iterator[Progress]:
        image_px = self.model.cascades[self.number].config.stages[stage].image_px
        skipped = [(int(row), int(col)) for row, col in np.argwhere(self.order.skipped)]
        for cell in skipped:
            if cell not in canvas.done:
                canvas.write(cell, self._enlarged_parent(cell, image_px))
        total = len(self.order.grid) - len(skipped)

        def progress() -> Progress:
            done = len(canvas.done) - len(skipped)
            return Progress(self.geometry.level.name, image_px, done, total, len(skipped))

        yield progress()
        while ready := self.order.ready(canvas.done)[:batch]:
            tasks = [self._task(stage, cell, canvas, below) for cell in ready]
            for cell, pixels in zip(ready, executor.run(tasks), strict=True):
                canvas.write(cell, pixels)
            yield progress()

    def _task(self, stage: int, cell: Cell, canvas: StageCanvas, below: StageCanvas | None) -> PatchTask:
        config = self.model.cascades[self.number].config.stages[stage]
        starts_from_parent = stage == 0 and config.lowres_px is not None
        context = lowres = known = known_mask = None
        if self.parent is not None and self.parent_geometry is not None:
            x0, y0, x1, y1 = self.parent_geometry.to_px(self.geometry.box_l0(*cell))
            read = read_context(
                self.parent.read,
                ((x0 + x1) / 2, (y0 + y1) / 2),
                self.model.config,
                self.parent_geometry.level,
                self.geometry.level,
                config.image_px,
                config.lowres_px if starts_from_parent else None,
            )
            context, lowres = read.images, read.centre
        if below is not None:
            lowres = below.patch_of(cell)
        if len(self.order.grid) > 1:
            known, known_mask = canvas.held(cell, self.order.held(cell))
        return PatchTask(
            level=self.number,
            stage=stage,
            cell=cell,
            seed=patch_seed(self.settings.seed, self.number, stage, cell),
            context=context,
            lowres=lowres,
            known=known,
            known_mask=known_mask,
            steps=self.settings.steps,
            resample=self.settings.resample,
        )

    def _enlarged_parent(self, cell: Cell, image_px: int) -> NDArray[np.uint8]:
        """Returns the parent's picture at a patch's place, (S, S, 3)."""
        if self.parent is None or self.parent_geometry is None:
            raise ValueError("the first level has no parent")
        return self.parent.read(self.parent_geometry.to_px(self.geometry.box_l0(*cell)), image_px)

    def _without_tissue(self) -> NDArray[np.bool_]:
        """Marks the patches whose place on the parent's canvas holds no tissue, (rows, cols) bool."""
        grid = self.geometry.grid
        without = np.zeros((grid.rows, grid.cols), bool)
        if self.parent is None or self.parent_geometry is None:
            return without
        width, height = self.parent.size_px
        picture, scale_l0 = self.parent.picture(0, 0, width, height), self.parent_geometry.level.scale
        mask = tissue_mask(picture, self.model.config.tissue, scale_l0)
        for row, col in grid:
            x0, y0, x1, y1 = self.parent_geometry.to_px(self.geometry.box_l0(row, col))
            left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
            without[row, col] = not mask[top : int(np.ceil(y1)), left : int(np.ceil(x1))].any()
        return without


def slide_size_px(config: UrcdmConfig, size_l0: tuple[int, int]) -> tuple[int, int]:
    """Returns the width and height of the finished slide in pixels of the last level."""
    scale = config.levels[-1].scale
    return round(size_l0[0] / scale), round(size_l0[1] / scale)
