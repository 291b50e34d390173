"""Networks made ready to sample fast: memory layout, precision, compilation.

The sampling loop never waits for a GPU: nothing in it reads a number back, and times, schedules and masks are made
where the network is. What may come from the host is noise, through pinned memory: with generators on the CPU, what a
batch starts from, and a draw each step with 'ddpm', with an eta, and when resampling. At large sizes these draws take
longer than the network; generators on the device avoid them, and draw other images.
"""

import inspect
from typing import Any, Literal

import torch
from torch import nn

from cdm_core.sampler import TakeSteps, take_steps

Precision = Literal["fp32", "bf16"]


def best_precision(device: torch.device) -> Precision:
    """Returns 'bf16' for a GPU that calculates in it, else 'fp32'."""
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def prepare_for_sampling(
    unet: nn.Module, *, precision: Precision = "fp32", compiled: bool = False, mode: str | None = None
) -> nn.Module:
    """Makes a network ready to sample, in place, and returns it.

    Args:
        unet: As of `build_unet`, on the device to use. It cannot be trained afterwards.
        precision: 'bf16' turns the weights of convolutions and linear layers into bfloat16: half the memory, and
            `sample_stage` then samples in mixed precision. Images change by less than a grey level on average.
        compiled: Compile it, see `compile_in_place`.
        mode: Of `torch.compile`; 'max-autotune-no-cudagraphs' is worth its long compilation for runs of many hours.
    """
    unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if precision == "bf16":
        for layer in unet.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.bfloat16)
    if compiled:
        compile_in_place(unet, mode=mode)
    return unet


def compiled_steps(*, mode: str | None = None) -> TakeSteps:
    """Returns the loop over a stage's steps as one compiled function, for `sample_stage(take=...)`.

    It is for students, whose steps are few: between them nothing is left but the network's own work, and with `mode`
    'reduce-overhead' a GPU gets all of them as one CUDA graph. Its first batch takes as long as to compile the network
    once a step; like a compiled network it compiles anew for each stage and batch size. Loops that draw fresh noise
    between steps are not for it.

    Args:
        mode: Of `torch.compile`.
    """
    compiled: TakeSteps = torch.compile(take_steps, mode=mode, dynamic=False)
    return compiled


def compile_in_place(unet: nn.Module, *, mode: str | None = None) -> None:
    """Compiles a network, in place: its first forward takes a minute or more, and the names of its weights stay.

    Each batch size is compiled anew, so a run keeps to one and fills its last batches up.

    Args:
        unet: As of `build_unet`.
        mode: Of `torch.compile`.
    """
    options: dict[str, Any] = {"mode": mode, "dynamic": False}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        # All networks share one forward, and torch gives up on a function after eight compilations: the ninth network
        # would run as it is. Older versions of torch have no such option.
        options["isolate_recompiles"] = True
    unet.compile(**options)
