"""Joint sampling: all patches of a stage take each step together; predictions are averaged where they overlap.

One noisy image covers the whole canvas. At every step each patch predicts x0 from its window of that image, the
predictions are blended where windows overlap, and the image takes the step. Patches need no order, and none holds the
pixels of another.

The noisy image is never held as a whole. Each patch stores its window of the image and its prediction. Its next window
follows from these and from its neighbours' predictions, and agrees with theirs where they overlap. Windows and
predictions are kept in memory if they take at most a quarter of the free memory; a step of them is then saved to disk
every two minutes, so that the run can be resumed. Otherwise they are kept on disk.

Source: Bar-Tal et al. 2023, 'MultiDiffusion', section 3, with predictions of x0 averaged in place of whole steps.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import SOLVERS, sampling_times, step_weights
from urcdm.canvas.patch_store import PatchMemory, PatchStore
from urcdm.errors import SettingsError
from urcdm.execution.executors import PatchExecutor
from urcdm.execution.fixed_point import pack, unpack
from urcdm.execution.tasks import DenoiseTask, PatchTask
from urcdm.execution.work import sample_patches
from urcdm.layout.order import Front, Position
from urcdm.sampling.host_memory import FillingCache, available_bytes
from urcdm.sampling.level_run import LevelRun
from urcdm.sampling.place_noise import noise_key, place_noise

STEPS_SHARE, CONDITIONS_SHARE = 1 / 4, 1 / 8
"""Shares of the free memory: for the noisy images and predictions of two steps, and for contexts and low-resolution
images, which are kept from step to step; those that do not fit are read again."""
CONDITIONS_BYTES = 64 * 2**20
"""Bytes of conditions that are kept even if little memory is free."""
SAVE_EVERY_S = 120
"""Time between saves of steps in memory: a resumed run repeats about this time at most."""
STRIP_COLS = 2
"""Columns of the strips in which patches are sampled: their neighbours' predictions are still in memory then."""
CACHED_BYTES = {"x": 16 * 2**20, "mean": 16 * 2**20, "x0": 80 * 2**20}
"""Bytes of each store on disk that are cached in memory; for predictions, three rows of a strip and of its neighbours,
with patches of 1,024 px."""


class JointStage:
    """One stage of one level, sampled jointly.

    Args:
        level: The level; the patches without tissue are on its canvas already.
        stage: Number of the stage, from 0; the stage before it is finished.

    Raises:
        SettingsError: The stage's solver takes more than one prediction a step.
    """

    def __init__(self, level: LevelRun, stage: int) -> None:
        self.level, self.stage, self.canvas, self.picture = level, stage, level.canvas, level.stage(stage)
        config = level.config.stages[stage]
        sampling, schedule = config.sampling, Schedule(config.schedule)
        solver = SOLVERS[sampling.method]
        if solver.evaluations > 1:
            raise SettingsError(f"joint sampling needs a solver with one prediction a step, got {sampling.method}")
        self.steps = level.settings.steps or sampling.steps
        self.keeps_mean = solver.other == "before"
        self.times = sampling_times(self.steps, power=sampling.time_power)
        self.weights = step_weights(schedule, self.times, method=sampling.method, eta=sampling.eta)
        self.positions = sorted(level.order.sampled, key=lambda position: (position[1] // STRIP_COLS, position))
        free = available_bytes()
        self.in_memory = self._bytes_of_two_steps() <= STEPS_SHARE * free
        room = max(CONDITIONS_BYTES, int(CONDITIONS_SHARE * free))
        self._conditions = FillingCache(room, self._read_conditions, lambda task: task.nbytes)
        self._known = FillingCache(CONDITIONS_BYTES, self._read_known, lambda pixels: pixels.nbytes)

    def run(self, executor: PatchExecutor, batch: int) -> Iterator[int]:
        """Takes the steps that are left, writes the patches, and yields after every batch and at the end.

        Yields:
            The number of predictions so far, divided by the number of steps.
        """
        number, before = self._resumed(), None
        saved_s, lasted_s = time.monotonic(), math.inf  # so that the first step of a sitting is saved
        while True:
            begun_s = time.monotonic()
            now = self._open(number, saves=begun_s - saved_s + lasted_s >= SAVE_EVERY_S)
            yield self._progress(now)
            yield from self._predict(now, before, executor, batch)
            if now.saved:
                self._drop(range(number))
                saved_s = time.monotonic()
            if number == self.steps - 1:
                break
            number, before, lasted_s = number + 1, now, time.monotonic() - begun_s
        for position in self.positions:
            if position not in self.picture.done:
                clean = self._step(now, position)[0].clip(-1, 1)
                self.picture.write(position, np.rint((clean + 1) * 127.5).astype(np.uint8))
        self._drop(range(self.steps))
        yield len(self.positions)

    def _resumed(self) -> int:
        """The step to continue at: the last saved one whose noisy image is complete, from which predictions follow.

        A later step may have begun, and files of earlier steps may be left. If no noisy image is complete, for example
        because a damaged file was deleted, the stage starts again.
        """
        begun = [step for step in range(self.steps) if self._is_begun(step)]
        return max((step for step in begun if self._open(step, saves=True).noisy >= set(self.positions)), default=0)

    def _predict(self, now: "_Step", before: "_Step | None", executor: PatchExecutor, batch: int) -> Iterator[int]:
        """Makes the missing predictions of a step."""
        noisy = now.noisy  # as the step begins
        predicted_already = now.x0.done & noisy
        left = [position for position in self.positions if position not in predicted_already]

        def task(position: Position) -> DenoiseTask:
            if position not in noisy:
                if before is None:
                    x = place_noise(self._key(0), self.picture.mosaic.window(position))
                else:
                    x, mean = self._step(before, position)
                    if now.mean is not None:
                        now.mean.write(position, pack(mean))
                now.x.write(position, pack(x))
            return DenoiseTask(self._conditions.get(position), now.x.load(position), self.times[now.number])

        for predicted in sample_patches(executor, Front(dict.fromkeys(left, ())), task, batch):
            for position, x0 in predicted:
                now.x0.write(position, x0)
            yield self._progress(now)

    def _step(self, step: "_Step", position: Position) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Takes a step in a patch's window; returns the next x and the mean prediction, (S, S, 3) each."""
        weights, mosaic = self.weights[step.number], self.picture.mosaic
        window = mosaic.window(position)

        def predicted(other: Position) -> NDArray[np.int16]:
            return self._known.get(other) if self.level.order.skipped[other] else step.x0.load(other)

        mean = unpack(mosaic.blend(window, mosaic.positions_at(*window), predicted, np.float32))
        x0 = mean
        if weights.other and step.mean is not None:
            x0 = mean + weights.other * (unpack(step.mean.load(position)) - mean)
        x = weights.x * unpack(step.x.load(position))
        x += weights.x0 * x0
        if weights.noise:
            x += weights.noise * place_noise(self._key(1 + step.number), window)
        return x, mean

    def _read_known(self, position: Position) -> NDArray[np.int16]:
        """A patch without tissue, in [-1, 1], packed as predictions are."""
        return pack(self.picture.store.load(position).astype(np.float32) / 127.5 - 1)

    def _read_conditions(self, position: Position) -> PatchTask:
        return self.level.conditions(self.stage, position)

    def _key(self, purpose: int) -> int:
        return noise_key(self.level.settings.seed, self.level.number, self.stage, purpose)

    def _progress(self, step: "_Step") -> int:
        return (step.number * len(self.positions) + len(step.x0.done)) // self.steps

    def _name(self, step: int, kind: str) -> str:
        return f"{self.level.geometry.level.name}-{self.picture.image_px}-step-{step}-{kind}"

    def _kinds(self, number: int) -> tuple[str, ...]:
        return ("x", "mean", "x0") if self.keeps_mean and number else ("x", "x0")

    def _open(self, number: int, *, saves: bool) -> "_Step":
        """Opens a step, on disk if it is to be saved or was begun there."""
        grid, side, kinds = self.level.geometry.grid, self.picture.image_px, self._kinds(number)
        saved = saves or not self.in_memory or self._is_begun(number)
        stores: dict[str, PatchStore | PatchMemory] = {}
        for kind in kinds:
            if saved:
                store = self.canvas.scratch(self._name(number, kind), grid, side, CACHED_BYTES[kind])
                stores[kind] = PatchMemory(store) if self.in_memory else store
            else:
                stores[kind] = PatchMemory()
        return _Step(number, stores["x"], stores["x0"], stores.get("mean"), saved)

    def _is_begun(self, number: int) -> bool:
        """Whether a step has been begun on disk; its predictions are opened last."""
        return self.canvas.has_scratch(self._name(number, "x0"))

    def _drop(self, numbers: range) -> None:
        """Removes steps from the disk."""
        for number in numbers:
            for kind in ("x0", "mean", "x"):
                self.canvas.drop_scratch(self._name(number, kind))

    def _bytes_of_two_steps(self) -> int:
        """The memory that a step and the previous one take."""
        return len(self.positions) * 2 * len(self._kinds(1)) * 2 * 3 * self.picture.image_px**2


@dataclass(frozen=True)
class _Step:
    """The stored state of a step: each patch's window of the noisy image, and its prediction.

    Args:
        number: Which step, from 0.
        x: The noisy image at the start of the step.
        x0: The predictions.
        mean: The blended predictions of the previous step, if the solver needs them.
        saved: Whether they are on disk.
    """

    number: int
    x: PatchStore | PatchMemory
    x0: PatchStore | PatchMemory
    mean: PatchStore | PatchMemory | None
    saved: bool

    @property
    def noisy(self) -> set[Position]:
        """The patches whose windows are stored."""
        return self.x.done if self.mean is None else self.x.done & self.mean.done
