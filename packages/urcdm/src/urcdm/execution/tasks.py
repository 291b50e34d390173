"""Tasks: patches to sample, with all inputs except the model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from urcdm.layout.order import Position

StageKey = tuple[int, int]
"""Number of the level and of the stage in its cascade, both from 0."""


@dataclass(frozen=True)
class PatchTask:
    """A patch to sample. Pictures are uint8 at the resolution of the stage, S.

    Args:
        level: Number of the level, from 0.
        stage: Number of the stage in the level's cascade, from 0.
        position: Row and column of the patch.
        seed: Seed of all its noise.
        context: Its context, (S, S, C), or None.
        lowres: The low-resolution image that it enlarges, (s, s, 3), or None.
        known: Pixels to hold, (S, S, 3), or None.
        known_mask: How strongly each is held, (S, S) in [0, 1], or None.
        steps: Denoising steps; the stage's own if None.
        resample: How often each step is run where pixels are held.
    """

    level: int
    stage: int
    position: Position
    seed: int
    context: NDArray[np.uint8] | None = None
    lowres: NDArray[np.uint8] | None = None
    known: NDArray[np.uint8] | None = None
    known_mask: NDArray[np.float32] | None = None
    steps: int | None = None
    resample: int = 1

    @property
    def nbytes(self) -> int:
        """Memory of its pictures, bytes."""
        pictures = (self.context, self.lowres, self.known, self.known_mask)
        return sum(picture.nbytes for picture in pictures if picture is not None)


@dataclass(frozen=True)
class DenoiseTask:
    """A patch whose clean picture is to be predicted from a noisy one: one step of sampling all patches jointly.

    Args:
        patch: Its conditions; nothing is held.
        noisy: x_t in the patch's window, (S, S, 3), packed as in `urcdm.execution.fixed_point`.
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


def patch_seed(seed: int, level: int, stage: int, position: Position) -> int:
    """Returns the seed of a patch, a function of its position alone: neither batch nor order changes the slide."""
    return int(np.random.SeedSequence([seed, level, stage, *position]).generate_state(1, np.uint64)[0] >> np.uint64(1))
