"""Preparation of cascades for sampling many images: precision, and compilation if it pays."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch

from cdm_core import Cascade, StageConfig, sample_stage
from cdm_core.devices.batch_size import BatchSize, time_batch
from cdm_core.stages.inference import best_precision, compile_in_place, compiling_pays, prepare_for_sampling

T = TypeVar("T")
Compile = bool | Literal["auto"]


def make_ready(
    cascade: Cascade, device: torch.device, *, images: int, batch_size: int, compiled: Compile = "auto"
) -> int | None:
    """Moves a cascade's networks to a device, and prepares them for sampling in the device's best precision.

    Args:
        cascade: The cascade.
        device: The device.
        images: Number of images to sample.
        batch_size: Number of images sampled together.
        compiled: Whether to compile the networks; 'auto': on a GPU, those with minutes of sampling ahead, estimated
            from the time of some steps.

    Returns:
        The required size of all batches, see `full_batch`; None if no network is compiled.
    """
    cascade.to(device)
    for unet in cascade.unets:
        prepare_for_sampling(unet, precision=best_precision(device))
    chosen = cascade.unets if compiled is True else []
    if compiled == "auto" and device.type == "cuda":
        size = min(batch_size, images)
        chosen = [
            unet
            for unet, stage in zip(cascade.unets, cascade.config.stages, strict=True)
            if compiling_pays(_measured(unet, stage, size), images, stage.sampling.steps)
        ]
    for unet in chosen:
        compile_in_place(unet)
    return batch_size if chosen else None


def full_batch(values: Sequence[T], size: int | None) -> list[T]:
    """Pads a batch to the size that a compiled network requires by repeating its last value; None: no padding."""
    return [*values, *list(values[-1:]) * ((size or 0) - len(values))]


def _measured(unet: torch.nn.Module, stage: StageConfig, batch_size: int) -> BatchSize:
    """Measures the speed of a stage at a batch size from a few steps."""
    device = next(unet.parameters()).device
    small, channels = stage.lowres_px, stage.unet.cond_images_channels

    def run(count: int, steps: int) -> None:
        sample_stage(
            unet,
            stage,
            generators=[torch.Generator().manual_seed(0) for _ in range(count)],
            lowres=None if small is None else torch.zeros(count, 3, small, small, device=device),
            cond_images=torch.zeros(count, channels, *[stage.image_px] * 2, device=device) if channels else None,
            steps=steps,
        ).cpu()

    return time_batch(run, batch_size)
