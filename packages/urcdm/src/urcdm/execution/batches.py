"""Batches of tasks: prepared on the device of their network, and then run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import StageConfig, draw_noise, sample_stage, to_uint8
from cdm_core.devices.batch_size import BatchSize, best_batch_size, time_batch
from cdm_core.devices.host_batch import stacked_on
from cdm_core.diffusion.sampler import TakeSteps
from cdm_core.stages.stage import StageNoise, stage_denoiser
from urcdm.execution.conditions import BatchConditions, KeptConditions, as_images
from urcdm.execution.fixed_point import pack_tensor, unpack_tensor
from urcdm.execution.tasks import DenoiseTask, PatchTask, StageKey, Task
from urcdm.model import Urcdm


class PreparedBatch(Protocol):
    """Tasks of one kind and stage with all inputs of their network, on its device."""

    @property
    def stage(self) -> StageKey:
        """The stage that they belong to."""
        ...

    def run(self, take: TakeSteps | None = None) -> list[NDArray[Any]]:
        """Runs the tasks; see `run_tasks`.

        Args:
            take: How patches take their steps, see `cdm_core.sample`.
        """
        ...


def run_tasks(model: Urcdm, tasks: Sequence[Task]) -> list[NDArray[Any]]:
    """Runs tasks of one kind and stage as one batch.

    Args:
        model: The model, on the device to use.
        tasks: The tasks.

    Returns:
        For each task, in their order, a sampled patch, (S, S, 3) uint8, or x0, (S, S, 3), packed as the
        noisy picture was.
    """
    return prepare_batch(model, tasks).run()


def prepare_batch(model: Urcdm, tasks: Sequence[Task], kept: KeptConditions | None = None) -> PreparedBatch:
    """Moves tasks of one kind and stage to their network's device and samples their initial noise.

    It does not wait for a GPU, so that a batch can be prepared while another one runs.

    Args:
        model: The model, on the device to use.
        tasks: The tasks.
        kept: Conditions that stay on the device from one step of joint sampling to the next.
    """
    noisy = [task for task in tasks if isinstance(task, DenoiseTask)]
    if noisy:
        return DenoiseBatch.prepare(model, noisy, kept)
    if kept is not None:
        kept.clear()
    return PatchBatch.prepare(model, [task for task in tasks if isinstance(task, PatchTask)])


@dataclass(frozen=True)
class PatchBatch:
    """Patches of one stage of one level to sample, (B); see `PreparedBatch`.

    Args:
        model: The model.
        stage: The stage.
        steps: Denoising steps; the stage's own if None.
        resample: How often each step is run where pixels are held.
        generators: Generators of the patches' noise; that of the conditions and the start is sampled already.
        conditions: Their conditions.
        embedding: The embedding of the level for networks that levels share, (B, D), or None for others.
        start: Noise to begin with, (B, *config.sample_shape).
        known: Pixels to hold, (B, 3, S, S), or None.
        known_mask: How strongly each is held, (B, 1, S, S), or None.
    """

    model: Urcdm
    stage: StageKey
    steps: int | None
    resample: int
    generators: Sequence[torch.Generator]
    conditions: BatchConditions
    embedding: Tensor | None
    start: Tensor
    known: Tensor | None
    known_mask: Tensor | None

    @classmethod
    def prepare(cls, model: Urcdm, tasks: Sequence[PatchTask]) -> "PatchBatch":
        """See `prepare_batch`."""
        first, device = tasks[0], model.cascades[tasks[0].level].device
        generators = [torch.Generator().manual_seed(task.seed) for task in tasks]
        conditions = BatchConditions.make(model, tasks, generators)
        known = [task.known for task in tasks if task.known is not None]
        masks = [task.known_mask for task in tasks if task.known_mask is not None]
        return cls(
            model,
            (first.level, first.stage),
            first.steps,
            first.resample,
            generators,
            conditions,
            _embeddings(model, tasks),
            draw_noise(_config(model, first).sample_shape, generators, device),
            as_images(stacked_on(device, known)) if known else None,
            stacked_on(device, masks)[:, None] if masks else None,
        )

    def run(self, take: TakeSteps | None = None) -> list[NDArray[Any]]:
        """Samples the patches, (S, S, 3) uint8 each."""
        level, stage = self.stage
        cascade = self.model.cascades[level]
        images = sample_stage(
            cascade.unets[stage],
            cascade.config.stages[stage],
            generators=self.generators,
            cond_images=self.conditions.cond_images(self.model.config.context_noise),
            embedding=self.embedding,
            lowres=self.conditions.lowres_images(),
            known=self.known,
            known_mask=self.known_mask,
            steps=self.steps,
            resample=self.resample,
            noise=StageNoise(self.start, self.conditions.lowres_noise),
            take=take,
        )
        return list(to_uint8(images))


@dataclass(frozen=True)
class DenoiseBatch:
    """Patches of one stage of one level whose clean pictures are to be predicted, (B); see `PreparedBatch`.

    Args:
        model: The model.
        stage: The stage.
        conditions: Their conditions; the noise is that of the patch, the same at every step.
        embedding: The embedding of the level for networks that levels share, (B, D), or None for others.
        noisy: x_t, (B, S, S, 3), packed.
        t: Its time.
    """

    model: Urcdm
    stage: StageKey
    conditions: BatchConditions
    embedding: Tensor | None
    noisy: Tensor
    t: float

    @classmethod
    def prepare(cls, model: Urcdm, tasks: Sequence[DenoiseTask], kept: KeptConditions | None = None) -> "DenoiseBatch":
        """See `prepare_batch`."""
        patches = [task.patch for task in tasks]
        first, device = patches[0], model.cascades[patches[0].level].device
        conditions = (kept or KeptConditions(limit=0)).of(model, patches)
        noisy = stacked_on(device, [task.noisy for task in tasks])
        return cls(model, (first.level, first.stage), conditions, _embeddings(model, patches), noisy, tasks[0].t)

    @torch.no_grad()
    def run(self, take: TakeSteps | None = None) -> list[NDArray[Any]]:
        """Predicts x0, (S, S, 3) each, packed; a prediction takes no steps."""
        level, stage = self.stage
        cascade = self.model.cascades[level]
        denoiser = stage_denoiser(
            cascade.unets[stage],
            cascade.config.stages[stage],
            len(self.noisy),
            lowres=self.conditions.lowres_images(),
            lowres_noise=self.conditions.lowres_noise,
            cond_images=self.conditions.cond_images(self.model.config.context_noise),
            embedding=self.embedding,
        )
        noisy = unpack_tensor(self.noisy).permute(0, 3, 1, 2)
        x0 = denoiser(noisy, torch.full((len(noisy),), self.t, device=noisy.device))
        return list(pack_tensor(x0.permute(0, 2, 3, 1)).cpu().numpy())


def stage_batch(model: Urcdm, key: StageKey, *, limit: int, size: int | None = None) -> BatchSize:
    """Measures the best batch size of a stage, and the time of one step.

    The next batch is on the device at the same time, as when a slide is sampled.

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
        position=(0, 0),
        seed=0,
        context=np.zeros((side, side, channels), np.uint8) if channels else None,
        lowres=np.zeros((small, small, 3), np.uint8) if small else None,
        known=np.zeros((side, side, 3), np.uint8),
        known_mask=np.zeros((side, side), np.float32),
    )
    following: dict[int, PreparedBatch] = {}

    def run(count: int, steps: int) -> None:
        tasks = [replace(task, steps=steps)] * count
        if count not in following:
            following.clear()
            following[count] = prepare_batch(model, tasks)
        run_tasks(model, tasks)

    return time_batch(run, size) if size is not None else best_batch_size(run, limit=limit)


def _config(model: Urcdm, task: PatchTask) -> StageConfig:
    return model.cascades[task.level].config.stages[task.stage]


def _embeddings(model: Urcdm, tasks: Sequence[PatchTask]) -> Tensor | None:
    """The embedding of the level for networks that levels share, (B, D), or None for others."""
    embedding = model.config.embedding(tasks[0].level)
    if embedding is None:
        return None
    device = model.cascades[tasks[0].level].device
    return stacked_on(device, [np.asarray(embedding, np.float32)] * len(tasks))
