"""Networks made ready to sample fast: memory layout, precision, compilation.

The sampling loop never waits for a GPU: nothing in it reads a number back, and times, schedules and masks are made
where the network is. What may come from the host is noise, through pinned memory: with generators on the CPU, what a
batch starts from, and a draw each step with 'ddpm', with an eta, and when resampling. At large sizes these draws take
longer than the network; generators on the device avoid them, and draw other images.
"""

import contextlib
import importlib.util
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import nn

from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.sampler import TakeSteps, take_steps
from cdm_core.errors import ConfigError
from run_folder import first_line

Precision = Literal["fp32", "bf16"]
MOST_COMPILATIONS = 64
"""Of the networks of a process, where torch counts them together."""
COMPILATION_S = 60
"""Seconds that a GPU must save by a compiled network to be worth it, or more: compiling one takes a minute or two."""
SPEED_UP = 1.6
"""How many times faster a step is once its network is compiled; what the host does around the steps stays as it is."""


def best_precision(device: torch.device) -> Precision:
    """Returns 'bf16' for a GPU that calculates in it, else 'fp32'."""
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def fastest_precision(device: torch.device) -> Precision:
    """Returns 'bf16' for a device that calculates faster in it: some GPUs, and CPUs with AMX; else 'fp32'.

    `best_precision` keeps float32 on every CPU, so that all CPUs give the same results up to rounding.
    """
    if device.type != "cpu":
        return best_precision(device)
    capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # not in all releases
    return "bf16" if capabilities().get("amx_bf16", False) else "fp32"


def precision_named(name: str) -> Precision:
    """Returns a precision by its name.

    Raises:
        ConfigError: No network is run in it.
    """
    if name == "bf16":
        return "bf16"
    if name == "fp32":
        return "fp32"
    raise ConfigError(f"precision {name!r}: wanted fp32 or bf16")


def prepare_for_sampling(unet: nn.Module, *, precision: Precision = "fp32", compiled: bool = False) -> nn.Module:
    """Makes a network ready to sample, in place, and returns it.

    Args:
        unet: As of `build_unet`, on the device to use. It cannot be trained afterwards.
        precision: 'bf16' turns the weights of convolutions and linear layers into bfloat16: half the memory, and
            `sample_stage` then samples in mixed precision. Images change by less than a grey level on average.
        compiled: Compile it, see `compile_in_place`.
    """
    unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if precision == "bf16":
        for layer in unet.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.bfloat16)
    if compiled:
        compile_in_place(unet)
    return unet


def compiled_steps(*, mode: str | None = None) -> TakeSteps:
    """Returns the loop over a stage's steps as one compiled function, for `sample_stage(take=...)`.

    It is for students, whose steps are few: only the network's own work is left between them, and with `mode`
    'reduce-overhead' a GPU gets all of them as one CUDA graph. Its first batch takes as long as to compile the network
    once a step; like a compiled network it compiles anew for each stage and batch size. Loops that draw fresh noise
    between steps are not for it.

    Args:
        mode: Of `torch.compile`; see `graphs_run_in_threads` for 'reduce-overhead'.
    """
    compiled: TakeSteps = torch.compile(take_steps, **_compile_options(mode))
    return compiled


def graphs_run_in_threads() -> bool:
    """Returns whether CUDA graphs of compiled functions run in any thread; in older versions of torch they fail there.

    Source: https://github.com/pytorch/pytorch/issues/123177
    """
    return hasattr(importlib.import_module("torch._inductor.cudagraph_trees"), "_initialize_tls")


def compile_in_place(unet: nn.Module, *, mode: str | None = None) -> None:
    """Compiles a network, in place: its first forward takes a minute or more, and the names of its weights stay.

    Each batch size is compiled anew, so a run keeps to one: it fills its last batches up, or trains on even chunks.

    Args:
        unet: As of `build_unet`, to sample or to train.
        mode: Of `torch.compile`.
    """
    unet.compile(**_compile_options(mode))


def has_compiler() -> bool:
    """Returns whether networks can be compiled for a GPU: there is a C compiler, and Triton."""
    found = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return found and importlib.util.find_spec("triton") is not None


def compiling_pays(measured: BatchSize, images: float, steps: int, *, compilations: int = 1) -> bool:
    """Returns whether a GPU saves more time by a compiled network than compiling it takes; False without a compiler.

    Args:
        measured: The network as it is, in batches of the size to use.
        images: How many images are to be sampled.
        steps: Of each.
        compilations: How often the network is compiled: once a step where all steps become one function.
    """
    saved_s = images * (measured.seconds(steps) - measured.seconds(steps, speed_up=SPEED_UP))
    return saved_s > compilations * COMPILATION_S and has_compiler()


def is_compilation_error(error: BaseException) -> bool:
    """Returns whether an error means that a network cannot be compiled here."""
    # by its place: importing torch._dynamo takes seconds
    return any(kind.__module__ == "torch._dynamo.exc" for kind in type(error).__mro__)


@contextlib.contextmanager
def compiling(error: type[Exception], advice: str) -> Iterator[None]:
    """Turns a compilation that fails within the block into one line.

    Args:
        error: Class of the error to raise instead.
        advice: What to do instead of compiling.
    """
    try:
        yield
    except RuntimeError as fault:
        if not is_compilation_error(fault):
            raise
        raise error(f"a network cannot be compiled here ({first_line(fault)}); {advice}") from None


def _compile_options(mode: str | None) -> dict[str, Any]:
    """Options of `torch.compile` for networks, of which a process may have many."""
    import einops  # what imagen-pytorch's networks are written in

    # it looks for its backend at its first use of a class, after which torch would compile the first network once more
    for tensor in (torch.zeros(1, 1), nn.Parameter(torch.zeros(1, 1))):
        einops.rearrange(tensor, "a b -> b a")
    options: dict[str, Any] = {"mode": mode, "dynamic": False}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        # All networks share one forward, and all loops one function, and torch gives up on one after eight
        # compilations: the ninth network would run as it is.
        options["isolate_recompiles"] = True
    else:
        config: Any = importlib.import_module("torch._dynamo.config")
        config.cache_size_limit = max(config.cache_size_limit, MOST_COMPILATIONS)
    return options
