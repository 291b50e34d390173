"""How the networks of a model are run: precision, batch sizes, compilation."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

import urcdm
from cdm_core.inference import Precision, best_precision, compile_in_place, prepare_for_sampling
from run_folder import first_line
from urcdm_app.errors import UsageError

CPU_BATCH = 8
MOST_PARTS = 4
COMPILING_PAYS_S = 300
"""Seconds of sampling over which a network is compiled on a GPU, which takes it a minute or two."""


@dataclass(frozen=True)
class Batches:
    """Patches sampled together in each stage, and the stages whose networks are compiled, which want full batches."""

    size: dict[urcdm.StageKey, int] = field(default_factory=dict)
    full: dict[urcdm.StageKey, int] = field(default_factory=dict)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Returns the precision that 'auto', 'fp32' or 'bf16' names.

    Raises:
        UsageError: It names none.
    """
    if name == "auto":
        return best_precision(device)
    if name not in ("fp32", "bf16"):
        raise UsageError(f"--precision {name}: wanted auto, fp32 or bf16")
    return "bf16" if name == "bf16" else "fp32"


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
    """Moves a model's networks to a device, makes them ready to sample there, in place, and returns the model."""
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
    for level, geometry in enumerate(model.geometry(settings.size_l0)):
        grid = geometry.grid
        most = -(-min(grid.rows, grid.cols) // workers)  # so many patches are ready at once for each
        for stage, config in enumerate(model.cascades[level].config.stages):
            key = (level, stage)
            size, seconds = min(batch or CPU_BATCH, most), 0.0
            if on_gpu:
                measured = urcdm.stage_batch(model, key, limit=most, size=size if batch else None)
                steps = (settings.steps or config.sampling.steps) * settings.resample
                size, seconds = measured.size, measured.seconds_per_image * len(grid) * steps / workers
            batches.size[key] = size
            if compiled or (compiled is None and seconds > COMPILING_PAYS_S and _has_compiler()):
                batches.full[key] = size
    return batches


def parts_of_batch(model: urcdm.Urcdm) -> int:
    """Into how many parts a batch is cut that are worked on side by side: one for each core of a small machine."""
    return min(torch.get_num_threads(), MOST_PARTS) if model.cascades[0].device.type == "cpu" else 1


def compile_networks(model: urcdm.Urcdm, batches: Batches) -> None:
    """Compiles the networks that are to be, in place."""
    for level, stage in batches.full:
        compile_in_place(model.cascades[level].unets[stage])


@contextmanager
def telling_of_compilation() -> Iterator[None]:
    """Turns what goes wrong in a compilation into a UsageError.

    Raises:
        UsageError: A network cannot be compiled here.
    """
    try:
        yield
    except RuntimeError as error:
        # by its place: importing torch._dynamo takes seconds
        if not any(kind.__module__ == "torch._dynamo.exc" for kind in type(error).__mro__):
            raise
        raise UsageError(
            f"a network cannot be compiled here ({first_line(error)}); go on with --resume --no-compile"
        ) from None


def _has_compiler() -> bool:
    """Tells whether networks can be compiled for a GPU."""
    found = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return found and importlib.util.find_spec("triton") is not None
