"""A slide from noise: level by level, stage by stage over the whole grid, ready patches together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Integral

from cdm_core.config import LatentUnetConfig
from cdm_core.stages.inference import Precision
from urcdm.canvas.canvas import Canvas, StageCanvas
from urcdm.config import UrcdmConfig
from urcdm.errors import SettingsError
from urcdm.execution.executors import Executor, work_off
from urcdm.execution.patch_task import PatchTask, StageKey
from urcdm.layout.geometry import LevelGeometry
from urcdm.layout.order import Cell
from urcdm.model import Urcdm
from urcdm.sampling.joint import JointStage
from urcdm.sampling.level_run import LevelRun


@dataclass(frozen=True)
class RunSettings:
    """What decides the pixels of a slide, besides the model.

    Args:
        size_l0: Width and height of the slide, level-0 px.
        seed: Of all noise.
        steps: Denoising steps of every stage; each stage's own if None.
        resample: How often each step is run where pixels are held; more costs time and joins patches better.
        joint: Sample all patches of a stage together, step by step, their predictions averaged where they overlap
            (`urcdm.sampling.joint`), instead of one after the other, each holding what its neighbours have drawn.
            Latent stages (`cdm_core.networks.latent`) are drawn one after the other all the same.
        precision: What the executor's networks calculate in. Two precisions on one canvas would differ by more than
            rounding where patches meet; whether networks are compiled, and the batch, change no more than that.

    Raises:
        SettingsError: A number is not whole or too small, or joint sampling with resampling.
    """

    size_l0: tuple[int, int]
    seed: int = 0
    steps: int | None = None
    resample: int = 1
    joint: bool = False
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        numbers = {"width": self.size_l0[0], "height": self.size_l0[1], "resample": self.resample}
        if self.steps is not None:
            numbers["steps"] = self.steps
        for name, value in numbers.items():
            if not isinstance(value, Integral) or value < 1:
                raise SettingsError(f"wanted a whole number of at least 1 for {name}, got {value}")
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise SettingsError(f"wanted a whole number of at least 0 for the seed, got {self.seed}")
        if self.joint and self.resample > 1:
            raise SettingsError("joint sampling holds no pixels, so there is nothing to resample: give resample=1")

    def identity(self, model: Urcdm) -> dict[str, str | int | float]:
        """Returns what a canvas remembers, so that only the same run resumes from it.

        Args:
            model: The model as it was loaded, before its networks are prepared in a precision.
        """
        return {
            "overlap": model.config.overlap,  # the model's own, but given by hand when outpainting, as is the scale:
            "mpp": model.config.mpp,  # before the fingerprint, so that a canvas names what is different
            "model": model.fingerprint(),
            "seed": self.seed,
            "width": self.size_l0[0],
            "height": self.size_l0[1],
            "steps": self.steps or "default",
            "resample": self.resample,
            "joint": self.joint,
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
        SettingsError: Joint sampling with a solver that it does not take.
        SlideSizeError: The slide is larger than the field of the first level.
        CanvasError: The canvas cannot be read or written.
        LockedError: Another run draws on the canvas.
    """
    with canvas.lock():
        yield from _draw_levels(model, canvas, executor, settings, batch)


def _draw_levels(
    model: Urcdm, canvas: Canvas, executor: Executor, settings: RunSettings, batch: int | Mapping[StageKey, int]
) -> Iterator[Progress]:
    parent: StageCanvas | None = None
    geometries = model.geometry(settings.size_l0)
    for number in range(len(geometries)):
        level = LevelRun(model, number, geometries, parent, settings.seed)
        below: StageCanvas | None = None
        for index in range(len(level.config.stages)):
            stage = _Stage(level, index, canvas, below, settings)
            yield from stage.run(executor, batch if isinstance(batch, int) else batch[number, index])
            below = stage.picture
        parent = below


def open_stage(canvas: Canvas, geometry: LevelGeometry, image_px: int) -> StageCanvas:
    """Opens the part of a canvas that belongs to the stage of a level with images of that side."""
    return canvas.stage(f"{geometry.level.name}-{image_px}", geometry.grid, image_px)


class _Stage:
    """One stage of one level: its patches without tissue, then the others in order or jointly."""

    def __init__(
        self,
        level: LevelRun,
        stage: int,
        canvas: Canvas,
        below: StageCanvas | None,
        settings: RunSettings,
    ) -> None:
        self.level, self.stage, self.canvas, self.below, self.settings = level, stage, canvas, below, settings
        self.image_px = level.config.stages[stage].image_px
        self.picture = open_stage(canvas, level.geometry, self.image_px)

    def run(self, executor: Executor, batch: int) -> Iterator[Progress]:
        skipped = self.level.skipped
        for cell in skipped:
            if cell not in self.picture.done:
                self.picture.write(cell, self.level.enlarged_parent(cell, self.image_px))
        total = len(self.level.order.grid) - len(skipped)
        name = self.level.geometry.level.name
        yield Progress(name, self.image_px, len(self.picture.done) - len(skipped), total, len(skipped))
        if len(self.picture.done) < len(self.level.order.grid):
            latent = isinstance(self.level.config.stages[self.stage].unet, LatentUnetConfig)
            jointly = self.settings.joint and total > 1 and not latent
            for done in self._jointly(executor, batch) if jointly else self._in_order(executor, batch):
                yield Progress(name, self.image_px, done, total, len(skipped))

    def _in_order(self, executor: Executor, batch: int) -> Iterator[int]:
        """Samples patches as they become ready; yields how many are done."""
        skipped = len(self.level.skipped)
        for finished in work_off(executor, self.level.order.front(self.picture.done), self._task, batch):
            for cell, pixels in finished:
                self.picture.write(cell, pixels)
            yield len(self.picture.done) - skipped

    def _jointly(self, executor: Executor, batch: int) -> Iterator[int]:
        """Samples all patches step by step; yields how many patches' worth of steps are done."""
        joint = JointStage(self.level, self.stage, self.canvas, self.picture, self.below, self.settings.steps)
        return joint.run(executor, batch)

    def _task(self, cell: Cell) -> PatchTask:
        task = self.level.conditions(self.stage, cell, self.below)
        known = known_mask = None
        if len(self.level.order.grid) > 1:
            known, known_mask = self.picture.held(cell, self.level.order.held(cell))
        settings = self.settings
        return replace(task, known=known, known_mask=known_mask, steps=settings.steps, resample=settings.resample)


def slide_size_px(config: UrcdmConfig, size_l0: tuple[int, int]) -> tuple[int, int]:
    """Returns the width and height of the finished slide in pixels of the last level."""
    scale = config.levels[-1].scale
    return round(size_l0[0] / scale), round(size_l0[1] / scale)
