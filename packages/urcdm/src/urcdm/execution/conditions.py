"""Conditions of a batch of patches on its network's device: images, and the noise that is added to them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import draw_noise
from cdm_core.devices.host_batch import stacked_on
from cdm_core.stages.lowres import noise_px
from urcdm.execution.tasks import PatchTask, StageKey
from urcdm.layout.order import Position
from urcdm.model import Urcdm

HOST_BYTES = 256 * 2**20
"""Bytes of conditions that are kept from step to step for a network on the CPU."""


@dataclass(frozen=True)
class BatchConditions:
    """The conditions of patches of one stage, on the network's device.

    Args:
        context: Contexts, (B, S, S, C) uint8, or None.
        lowres: Low-resolution images, (B, s, s, 3) uint8, or None.
        context_noise: Standard normal, for the centres of contexts, (B, 3, S, S); None where no noise is added.
        lowres_noise: Standard normal, for the low-resolution images, (B, 3, n, n) with n from `noise_px`, or None.
    """

    context: Tensor | None = None
    lowres: Tensor | None = None
    context_noise: Tensor | None = None
    lowres_noise: Tensor | None = None

    @classmethod
    def make(cls, model: Urcdm, patches: Sequence[PatchTask], generators: Sequence[torch.Generator]) -> Self:
        """Moves the conditions of patches of a stage to the device; their noise comes first from each generator."""
        cascade = model.cascades[patches[0].level]
        config, device = cascade.config.stages[patches[0].stage], cascade.device
        context = _pictures(device, [patch.context for patch in patches])
        lowres = _pictures(device, [patch.lowres for patch in patches])
        context_noise = lowres_noise = None
        if context is not None and model.config.context != "plain":
            context_noise = draw_noise((3, config.image_px, config.image_px), generators, device)
        if lowres is not None:
            lowres_noise = draw_noise((3, noise_px(config), noise_px(config)), generators, device)
        return cls(context, lowres, context_noise, lowres_noise)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Joins the conditions of single patches."""
        names = [field.name for field in fields(cls) if getattr(parts[0], field.name) is not None]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def split(self) -> list[Self]:
        """Returns the conditions of each patch, as views of these."""
        count = len(next(iter(self._tensors().values()), ()))
        return [
            type(self)(**{name: values[i : i + 1] for name, values in self._tensors().items()}) for i in range(count)
        ]

    @property
    def nbytes(self) -> int:
        """Their memory, bytes."""
        return sum(values.nbytes for values in self._tensors().values())

    def cond_images(self, context_noise: float) -> Tensor | None:
        """Returns contexts as the network takes them, (B, C, S, S) in [0, 1], centres with that much noise."""
        if self.context is None:
            return None
        context = as_images(self.context)
        if self.context_noise is None:
            return context
        return torch.cat([context[:, :3], context[:, 3:] + context_noise * self.context_noise], dim=1)

    def lowres_images(self) -> Tensor | None:
        """Returns low-resolution images as `cdm_core.sample_stage` takes them, (B, 3, s, s) in [0, 1]."""
        return None if self.lowres is None else as_images(self.lowres)

    def _tensors(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in named.items() if values is not None}


class KeptConditions:
    """Conditions of the patches of one stage that stay on the device from one step of joint sampling to the next.

    As many are kept as fit, and none is replaced: patches come in cycles, so the last one used is needed last. Several
    threads may use it.

    Args:
        limit: Most bytes to keep. None: `HOST_BYTES` on the CPU, and on a GPU half of the memory that the first batch
            of the stage leaves free.

    Attributes:
        nbytes: Memory that they take, bytes.
        room: Memory that they may take, bytes; None until it is measured.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self.room = limit, limit
        self._stage: StageKey | None = None
        self._kept: dict[tuple[Position, int], BatchConditions] = {}
        self._lock = threading.Lock()
        self.nbytes = 0

    def of(self, model: Urcdm, patches: Sequence[PatchTask]) -> BatchConditions:
        """Returns the conditions of patches of one stage, made again if they are not kept."""
        device, keys = model.cascades[patches[0].level].device, [(patch.position, patch.seed) for patch in patches]
        with self._lock:
            if self._stage != (stage := (patches[0].level, patches[0].stage)):
                self._begin(stage, device)
            kept = [self._kept.get(key) for key in keys]
        missing = [patch for patch, conditions in zip(patches, kept, strict=True) if conditions is None]
        if not missing:
            return BatchConditions.join([conditions for conditions in kept if conditions is not None])
        generators = [torch.Generator().manual_seed(patch.seed) for patch in missing]
        made = BatchConditions.make(model, missing, generators)
        new = made.split()
        with self._lock:
            if self.room is not None and self.nbytes + made.nbytes <= self.room:
                self._kept |= {(patch.position, patch.seed): row for patch, row in zip(missing, new, strict=False)}
                self.nbytes += made.nbytes
        if len(missing) == len(patches):
            return made
        rows = iter(new)
        return BatchConditions.join([next(rows) if conditions is None else conditions for conditions in kept])

    def measure(self, device: torch.device) -> None:
        """Measures the room for them, once a batch of the stage has run."""
        if self._stage is not None and self.room is None:
            free, _ = torch.cuda.mem_get_info(device)
            unused = torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device)
            self.room = max(0, free + unused) // 2

    def clear(self) -> None:
        """Drops all conditions."""
        with self._lock:
            self._stage, self.nbytes = None, 0
            self._kept.clear()

    def _begin(self, stage: StageKey, device: torch.device) -> None:
        self._kept.clear()
        self._stage, self.nbytes, self.room = stage, 0, self._limit
        if self._limit is None and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif self._limit is None:
            self.room = HOST_BYTES


def as_images(pictures: Tensor) -> Tensor:
    """Turns pictures, (B, S, S, C) uint8, into images, (B, C, S, S) in [0, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def _pictures(device: torch.device, pictures: Sequence[NDArray[np.uint8] | None]) -> Tensor | None:
    """Stacks pictures; returns None if there are none."""
    given = [picture for picture in pictures if picture is not None]
    return stacked_on(device, given) if given else None
