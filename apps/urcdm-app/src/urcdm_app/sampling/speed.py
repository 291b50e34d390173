"""How the networks of a model are run: precision, batch sizes, compilation."""

from dataclasses import dataclass, field, replace

import torch

import urcdm
from cdm_core import ConfigError, StageConfig
from cdm_core.devices.arithmetic import set_fp32
from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.sampler import TakeSteps
from cdm_core.stages.inference import (
    Precision,
    best_precision,
    compile_in_place,
    compiled_steps,
    compiling_pays,
    graphs_run_in_threads,
    precision_named,
    prepare_for_sampling,
)
from urcdm_app.errors import UsageError
from wsi_tiling import Grid

CPU_BATCH = 8
MOST_PARTS = 4
LOOP_STEPS = 4
"""Most steps that are compiled as one: it takes as long as to compile the network so many times."""


@dataclass(frozen=True)
class Batches:
    """How the patches of each stage are sampled.

    Args:
        size: Patches together.
        full: The same of stages that are compiled, whose batches are filled up.
        loops: Those of them of which all steps are compiled as one, not the network alone.
        seconds: On a GPU, the time of the stage's patches as measured, before anything is compiled.
    """

    size: dict[urcdm.StageKey, int] = field(default_factory=dict)
    full: dict[urcdm.StageKey, int] = field(default_factory=dict)
    loops: set[urcdm.StageKey] = field(default_factory=set)
    seconds: dict[urcdm.StageKey, float] = field(default_factory=dict)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Returns the precision that 'auto', 'fp32' or 'bf16' names.

    Raises:
        UsageError: It names none.
    """
    if name == "auto":
        return best_precision(device)
    try:
        return precision_named(name)
    except ConfigError:
        raise UsageError(f"--precision {name}: wanted auto, fp32 or bf16") from None


def resolve_batch(text: str) -> int | None:
    """Reads a batch size, or None for 'auto'.

    Raises:
        UsageError: It is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch {text}: wanted a number of patches from 1, or auto")
    return int(text)


def make_ready(model: urcdm.Urcdm, device: torch.device, precision: Precision) -> urcdm.Urcdm:
    """Moves a model's networks to a device, makes them ready to sample there, in place, and returns the model.

    On a GPU, this process calculates in IEEE float32 from then on, so that 'fp32' means the same as on a CPU.
    """
    if device.type == "cuda":
        set_fp32("ieee")
    model.to(device)
    for cascade in model.cascades:
        for unet in cascade.unets:
            prepare_for_sampling(unet, precision=precision)
    return model


def choose_batches(
    model: urcdm.Urcdm, settings: urcdm.RunSettings, *, batch: int | None, compiled: bool | None, workers: int = 1
) -> Batches:
    """Decides how the patches of a slide are sampled; on a GPU by measuring.

    Args:
        model: The model, made ready on the device to use.
        settings: The slide.
        batch: Patches together; None finds out.
        compiled: Compile every network, or none; None compiles those that have minutes of work ahead on a GPU.
        workers: How many share the slide, all on devices like this one.
    """
    on_gpu, batches = model.cascades[0].device.type == "cuda", Batches()

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
                measured = urcdm.stage_batch(model, key, limit=most, size=size if batch else None)
                if settings.joint:  # noise is drawn once for all steps
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


def _ready_at_once(grid: Grid, settings: urcdm.RunSettings, *, on_gpu: bool, workers: int) -> int:
    """Most patches of a grid that each worker may be given together."""
    ready = len(grid) if settings.joint and on_gpu else min(grid.rows, grid.cols)
    return -(-ready // workers)


def _is_one_function(config: StageConfig, settings: urcdm.RunSettings) -> bool:
    """Whether the loop over a stage's steps draws no noise between them, and is run as a whole."""
    sampling = config.sampling
    return not settings.joint and settings.resample == 1 and sampling.method != "ddpm" and sampling.eta == 0


def parts_of_batch(model: urcdm.Urcdm) -> int:
    """Into how many parts a batch is cut that are worked on side by side: one for each core of a small machine."""
    return min(torch.get_num_threads(), MOST_PARTS) if model.cascades[0].device.type == "cpu" else 1


def compile_networks(model: urcdm.Urcdm, batches: Batches) -> None:
    """Compiles the networks that are to be, in place; those whose loops are compiled stay as they are."""
    for level, stage in (key for key in batches.full if key not in batches.loops):
        compile_in_place(model.cascades[level].unets[stage])


def compile_loops(batches: Batches) -> dict[urcdm.StageKey, TakeSteps]:
    """Returns the loops over the steps of those stages that are compiled as a whole, each as one CUDA graph."""
    return {key: compiled_steps(mode="reduce-overhead" if graphs_run_in_threads() else None) for key in batches.loops}
