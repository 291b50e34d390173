"""Patches to sample, with everything that it takes: whoever samples them needs the model and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import draw_noise, sample_stage
from cdm_core.batch_size import BatchSize, best_batch_size, time_batch
from cdm_core.lowres import noise_px
from cdm_core.pictures import to_uint8
from cdm_core.stage import stage_denoiser
from urcdm.config import UrcdmConfig
from urcdm.fixed_point import pack_tensor, unpack_tensor
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


@dataclass(frozen=True)
class DenoiseTask:
    """A patch whose clean picture is to be predicted from a noisy one: one step of sampling all patches jointly.

    Args:
        patch: Its conditions; nothing is held.
        noisy: x_t at the patch's place, (S, S, 3), packed as in `urcdm.fixed_point`.
        t: Its time.
    """

    patch: PatchTask
    noisy: NDArray[np.int16]
    t: float


Task = PatchTask | DenoiseTask


def stage_of(task: Task) -> StageKey:
    """The stage that a task belongs to."""
    patch = task.patch if isinstance(task, DenoiseTask) else task
    return patch.level, patch.stage


def run_tasks(model: Urcdm, tasks: Sequence[Task]) -> list[NDArray[Any]]:
    """Works off tasks of one kind and stage as one batch.

    Args:
        model: The model, on the device to use.
        tasks: The tasks.

    Returns:
        For each task, in their order, a sampled patch, (S, S, 3) uint8, or x0, (S, S, 3), packed as the
        noisy picture was.
    """
    noisy = [task for task in tasks if isinstance(task, DenoiseTask)]
    if noisy:
        return denoise_patches(model, noisy)
    return sample_patches(model, [task for task in tasks if isinstance(task, PatchTask)])


def patch_seed(seed: int, level: int, stage: int, cell: Cell) -> int:
    """Returns the seed of a patch, a function of its place alone: neither batch nor order changes the slide."""
    return int(np.random.SeedSequence([seed, level, stage, *cell]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def sample_patches(model: Urcdm, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
    """Samples patches of one stage of one level as one batch; gives (S, S, 3) for each."""
    first, cascade = tasks[0], model.cascades[tasks[0].level]
    generators = [torch.Generator().manual_seed(task.seed) for task in tasks]
    masks = [torch.from_numpy(task.known_mask) for task in tasks if task.known_mask is not None]
    images = sample_stage(
        cascade.unets[first.stage],
        cascade.config.stages[first.stage],
        generators=generators,
        cond_images=_contexts(model, tasks, generators),
        embedding=_embeddings(model, tasks),
        lowres=_stacked([task.lowres for task in tasks], cascade.device),
        known=_stacked([task.known for task in tasks], cascade.device),
        known_mask=torch.stack(masks)[:, None].to(cascade.device) if masks else None,
        steps=first.steps,
        resample=first.resample,
    )
    return list(to_uint8(images))


@torch.no_grad()
def denoise_patches(model: Urcdm, tasks: Sequence[DenoiseTask]) -> list[NDArray[np.int16]]:
    """Predicts x0 for patches of one stage of one level as one batch; gives (S, S, 3), packed, for each."""
    patches = [task.patch for task in tasks]
    cascade, stage = model.cascades[patches[0].level], patches[0].stage
    config, device = cascade.config.stages[stage], cascade.device
    # The conditions' noise is that of the patch, the same at every step.
    generators = [torch.Generator().manual_seed(patch.seed) for patch in patches]
    context = _contexts(model, patches, generators)
    lowres = _stacked([patch.lowres for patch in patches], device)
    side = noise_px(config)
    denoiser = stage_denoiser(
        cascade.unets[stage],
        config,
        len(tasks),
        lowres=lowres,
        lowres_noise=None if lowres is None else draw_noise((3, side, side), generators, device),
        cond_images=context,
        embedding=_embeddings(model, patches),
    )
    noisy = unpack_tensor(torch.from_numpy(np.stack([task.noisy for task in tasks])).to(device)).permute(0, 3, 1, 2)
    x0 = denoiser(noisy, torch.full((len(tasks),), tasks[0].t, device=device))
    return list(pack_tensor(x0.permute(0, 2, 3, 1)).cpu().numpy())


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


def _contexts(model: Urcdm, tasks: Sequence[PatchTask], generators: Sequence[torch.Generator]) -> Tensor | None:
    """The contexts of patches with their centres noised, (B, C, S, S), or None if there are none."""
    context = _stacked([task.context for task in tasks], model.cascades[tasks[0].level].device)
    return None if context is None else noised_centre(context, model.config, generators)


def _embeddings(model: Urcdm, tasks: Sequence[PatchTask]) -> Tensor | None:
    """What tells a network that levels share the level, (B, D), or None for any other."""
    embedding = model.config.embedding(tasks[0].level)
    if embedding is None:
        return None
    return torch.tensor([embedding] * len(tasks), device=model.cascades[tasks[0].level].device)


def _stacked(pictures: Sequence[NDArray[np.uint8] | None], device: torch.device) -> Tensor | None:
    """Stacks (S, S, C) pictures to (B, C, S, S) in [0, 1], or gives None if there are none."""
    there = [picture for picture in pictures if picture is not None]
    if not there:
        return None
    return torch.from_numpy(np.stack(there)).to(device).permute(0, 3, 1, 2).float() / 255
