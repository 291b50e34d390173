"""One patch to sample, with everything that it takes: whoever samples it needs the model and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import draw_noise, sample_stage
from cdm_core.batch_size import BatchSize, best_batch_size, time_batch
from cdm_core.pictures import to_uint8
from urcdm.config import UrcdmConfig
from urcdm.model import Urcdm
from urcdm.order import Cell

StageKey = tuple[int, int]
"""Number of the level and of the stage in its cascade, both from 0."""


@dataclass(frozen=True)
class PatchTask:
    """A patch to sample. Pictures are uint8 at the resolution of the stage, S.

    Args:
        level: Number of the level, from 0.
        stage: Number of the stage in the level's cascade, from 0.
        cell: Row and column of the patch.
        seed: Of all its noise.
        context: What it is conditioned on, (S, S, C), or None.
        lowres: What it enlarges, (s, s, 3), or None.
        known: Pixels to hold, (S, S, 3), or None.
        known_mask: How much each is held, (S, S) in [0, 1], or None.
        steps: Denoising steps; the stage's own if None.
        resample: How often each step is run where pixels are held.
    """

    level: int
    stage: int
    cell: Cell
    seed: int
    context: NDArray[np.uint8] | None = None
    lowres: NDArray[np.uint8] | None = None
    known: NDArray[np.uint8] | None = None
    known_mask: NDArray[np.float32] | None = None
    steps: int | None = None
    resample: int = 1


class Executor(Protocol):
    """Samples batches of patches, here or elsewhere."""

    def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
        """Samples patches of one stage of one level together; gives (S, S, 3) for each, in their order."""
        ...


class InProcessExecutor:
    """Samples in this process.

    Args:
        model: The model, on the device to use.
        full: Stages whose batches are filled up to a size, with patches that are thrown away: a compiled network takes
            one size only.
    """

    def __init__(self, model: Urcdm, *, full: Mapping[StageKey, int] | None = None) -> None:
        self.model, self.full = model, dict(full or {})

    def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
        """Samples patches of one stage of one level together; gives (S, S, 3) for each, in their order."""
        missing = self.full.get((tasks[0].level, tasks[0].stage), 0) - len(tasks)
        return sample_patches(self.model, [*tasks, *[tasks[-1]] * missing])[: len(tasks)]


def patch_seed(seed: int, level: int, stage: int, cell: Cell) -> int:
    """Returns the seed of a patch, a function of its place alone: neither batch nor order changes the slide."""
    return int(np.random.SeedSequence([seed, level, stage, *cell]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def sample_patches(model: Urcdm, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
    """Samples patches of one stage of one level as one batch.

    Args:
        model: The model.
        tasks: The patches.

    Returns:
        One (S, S, 3) for each task, in their order.
    """
    first = tasks[0]
    cascade = model.cascades[first.level]
    device = cascade.device
    generators = [torch.Generator().manual_seed(task.seed) for task in tasks]
    context = _stacked([task.context for task in tasks], device)
    if context is not None:
        context = noised_centre(context, model.config, generators)
    masks = [torch.from_numpy(task.known_mask) for task in tasks if task.known_mask is not None]
    images = sample_stage(
        cascade.unets[first.stage],
        cascade.config.stages[first.stage],
        generators=generators,
        lowres=_stacked([task.lowres for task in tasks], device),
        cond_images=context,
        known=_stacked([task.known for task in tasks], device),
        known_mask=torch.stack(masks)[:, None].to(device) if masks else None,
        steps=first.steps,
        resample=first.resample,
    )
    return list(to_uint8(images))


def stage_batch(model: Urcdm, key: StageKey, *, limit: int, size: int | None = None) -> BatchSize:
    """Measures how many patches of a stage are best sampled together, and how long one step of one takes then.

    Args:
        model: The model, on the device to use.
        key: The stage.
        limit: Largest number to try.
        size: Measure this number, and try no other.
    """
    level, stage = key
    config = model.cascades[level].config.stages[stage]
    side, small, channels = config.image_px, config.lowres_px, config.unet.cond_images_channels
    task = PatchTask(
        level=level,
        stage=stage,
        cell=(0, 0),
        seed=0,
        context=np.zeros((side, side, channels), np.uint8) if channels else None,
        lowres=np.zeros((small, small, 3), np.uint8) if small else None,
        known=np.zeros((side, side, 3), np.uint8),
        known_mask=np.zeros((side, side), np.float32),
        steps=1,
    )

    def run(count: int) -> None:
        sample_patches(model, [task] * count)

    return time_batch(run, size) if size is not None else best_batch_size(run, limit=limit)


def noised_centre(context: Tensor, config: UrcdmConfig, generators: Sequence[torch.Generator]) -> Tensor:
    """Noises the centre crop of contexts, (B, 6, S, S) in [0, 1]; a plain context stays as it is."""
    if config.context == "plain":
        return context
    noise = draw_noise((3, *context.shape[2:]), generators, context.device)
    return torch.cat([context[:, :3], context[:, 3:] + config.context_noise * noise], dim=1)


def _stacked(pictures: Sequence[NDArray[np.uint8] | None], device: torch.device) -> Tensor | None:
    """Stacks (S, S, C) pictures to (B, C, S, S) in [0, 1], or gives None if there are none."""
    there = [picture for picture in pictures if picture is not None]
    if not there:
        return None
    return torch.from_numpy(np.stack(there)).to(device).permute(0, 3, 1, 2).float() / 255
