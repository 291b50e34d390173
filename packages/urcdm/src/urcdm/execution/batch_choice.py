"""Batch sizes of the stages of a slide, and which of its networks are compiled; on a GPU by measuring."""

from dataclasses import dataclass, field, replace

import torch

from cdm_core import StageConfig
from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.sampler import TakeSteps
from cdm_core.stages.inference import (
    compile_in_place,
    compiled_steps,
    compiling_pays,
    graphs_run_in_threads,
)
from urcdm.execution.batches import stage_batch
from urcdm.execution.tasks import StageKey
from urcdm.model import Urcdm
from urcdm.settings import RunSettings
from wsi_tiling import Grid

CPU_BATCH = 8
MOST_PARTS = 4
LOOP_STEPS = 4
"""Most steps that are compiled as one: it takes as long as to compile the network so many times."""


@dataclass(frozen=True)
class BatchChoice:
    """How the patches of each stage are sampled.

    Args:
        size: Batch size.
        full: Batch size of the stages that are compiled, whose batches are filled up.
        loops: The compiled stages whose whole loop over steps is one function, and not the network alone.
        seconds: On a GPU, the time of the stage's patches as measured, before anything is compiled.
    """

    size: dict[StageKey, int] = field(default_factory=dict)
    full: dict[StageKey, int] = field(default_factory=dict)
    loops: set[StageKey] = field(default_factory=set)
    seconds: dict[StageKey, float] = field(default_factory=dict)

    def compile(self, model: Urcdm) -> dict[StageKey, TakeSteps]:
        """Compiles networks in place, except those of the stages in `loops`.

        Returns:
            The compiled loops over steps of the stages in `loops`, each as one CUDA graph.
        """
        for level, stage in (key for key in self.full if key not in self.loops):
            compile_in_place(model.cascades[level].unets[stage])
        if not self.loops:
            return {}  # before torch's compiler is imported, which takes seconds
        mode = "reduce-overhead" if graphs_run_in_threads() else None
        return {key: compiled_steps(mode=mode) for key in self.loops}

    def parts(self, model: Urcdm) -> int:
        """The number of parts of a batch that run in parallel: one for each core of a small machine."""
        return min(torch.get_num_threads(), MOST_PARTS) if model.cascades[0].device.type == "cpu" else 1


def choose_batches(
    model: Urcdm, settings: RunSettings, *, batch: int | None, compiled: bool | None, workers: int = 1
) -> BatchChoice:
    """Chooses how the patches of a slide are sampled; on a GPU by measuring.

    Args:
        model: The model, prepared on the device to use.
        settings: The slide.
        batch: Batch size; None: measure the best size.
        compiled: Compile every network, or none; None: those for which it pays on a GPU.
        workers: How many share the slide, all on devices like this one.
    """
    on_gpu, batches = model.cascades[0].device.type == "cuda", BatchChoice()

    def compiles(measured: BatchSize | None, patches: float, steps: int, compilations: int = 1) -> bool:
        if compiled is not None:
            return compiled
        return measured is not None and compiling_pays(measured, patches, steps, compilations=compilations)

    for level, geometry in enumerate(model.geometry(settings.size_l0)):
        for stage, config in enumerate(model.cascades[level].config.stages):
            key, most = (level, stage), _ready_at_once(geometry.grid, settings, on_gpu=on_gpu, workers=workers)
            size, measured, patches = min(batch or CPU_BATCH, most), None, len(geometry.grid) / workers
            steps = (settings.steps or config.sampling.steps) * settings.resample
            if on_gpu:
                measured = stage_batch(model, key, limit=most, size=size if batch else None)
                if settings.joint:  # noise is sampled once for all steps
                    measured = replace(measured, seconds_around=0.0)
                size = measured.size
                batches.seconds[key] = patches * measured.seconds(steps)
            batches.size[key] = size
            if compiles(measured, patches, steps):
                batches.full[key] = size
                is_short = steps <= LOOP_STEPS and _is_one_function(config, settings)
                if on_gpu and is_short and compiles(measured, patches, steps, compilations=steps):
                    batches.loops.add(key)
    return batches


def _ready_at_once(grid: Grid, settings: RunSettings, *, on_gpu: bool, workers: int) -> int:
    """Most patches of a grid that each worker can get as one batch."""
    ready = len(grid) if settings.joint and on_gpu else min(grid.rows, grid.cols)
    return -(-ready // workers)


def _is_one_function(config: StageConfig, settings: RunSettings) -> bool:
    """Whether the loop over a stage's steps adds no noise between them, and runs as a whole."""
    sampling = config.sampling
    return not settings.joint and settings.resample == 1 and not sampling.is_stochastic
