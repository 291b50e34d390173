"""A training run at work: one step, and what follows some of the steps."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.nn.utils import clip_grad_norm_

from cdm_core.config import TrainingConfig
from cdm_core.devices.batch_size import is_out_of_memory
from cdm_core.devices.pacing import Pace
from cdm_core.errors import TrainingError
from cdm_core.stages.inference import compiling, precision_named
from cdm_core.training.examples import Examples
from cdm_core.training.guard import Guard
from cdm_core.training.log import TrainingLog
from cdm_core.training.pictures import save_sample_sheet
from cdm_core.training.prepared_examples import Batch, PreparedExamples, prepared_batches
from cdm_core.training.state import TrainingState
from cdm_core.training.step import Gradients, chunk_loss, out_of_memory_line
from cdm_core.training.tally import Reading
from run_folder import first_line

SHEET_IMAGES = 6


@dataclass(frozen=True)
class TrainingEvent:
    """One step done or skipped.

    The host looks at the device's counts where the log has a line, and after the first step.

    Args:
        step: Its number, from 1.
        loss: Mean loss of the steps before the host last looked, since the log's last line but one; nan if all of them
            were skipped.
        skipped: Steps skipped up to then for not being finite.
        restored: How often the weights went back to the last good ones.
        validation_loss: If it was measured after this step; by the main process only.
        aside_share: Share of the run's time that went into states, sheets and validation so far.
    """

    step: int
    loss: float
    skipped: int
    restored: int = 0
    validation_loss: float | None = None
    aside_share: float = field(default=0.0, compare=False)


@dataclass
class Run:
    """What a run is made of.

    Args:
        examples: The data, which know the stage and how it is trained.
        validation: Held-out data.
        accelerator: Of the run.
        state: What steps change.
        gradients: Makes the gradients of a step.
        guard: Saves the state.
        log: Where figures go.
    """

    examples: PreparedExamples
    validation: Examples | None
    accelerator: Accelerator
    state: TrainingState
    gradients: Gradients
    guard: Guard
    log: TrainingLog
    _seen: Reading | None = None

    def __post_init__(self) -> None:
        training = self.examples.training
        self._states, self._sheets = Pace(training.checkpoint_every), Pace(training.sample_every)

    def step(self, batch: Batch) -> None:
        """Does one step; the host does not wait for the device."""
        state, training, chunk = self.state, self.examples.training, self.gradients.chunk
        with compiling(TrainingError, "set compile = false and go on with resume"):
            loss = self.gradients(batch)
        if self.gradients.chunk != chunk:
            self.log.event("chunk_size", state.step + 1, chunk_size=self.gradients.chunk)
        with self._telling_of_memory():
            norm = clip_grad_norm_(state.weights, training.max_grad_norm)
            rate = learning_rate(training, state.step)
            state.advance(loss, norm, learning_rate=rate, ema_decay=training.ema_decay)
            state.optimiser.zero_grad(set_to_none=True)

    def look(self) -> TrainingEvent:
        """Reads the counts, measures, logs, saves and draws, each after the steps that are due for it."""
        state, training, main = self.state, self.examples.training, self.accelerator.is_main_process
        last = state.step == training.steps
        validates = self.validation is not None and (last or state.step % training.validate_every == 0)
        logs = validates or last or state.step % training.log_every == 0
        saves, draws = self._due(state.step, may_wait=logs)
        saves, draws = saves or last or self.guard.is_waiting, draws or last
        seen, validation_loss = self._seen, None
        if logs or saves or draws or seen is None:
            seen = self._read(thorough=saves)
        if self.validation is not None and validates and main:
            with self._aside():
                validation_loss = self._validation_loss(self.validation)
        if logs:
            self._log(seen, validation_loss)
        if saves or (draws and main):
            with self._aside():
                if saves:
                    with self._states.taken():
                        self.guard.save_if_good(seen, last=last)
                if draws and main:
                    with self._sheets.taken():
                        self._draw_samples()
        if validates or saves or draws:
            self.accelerator.wait_for_everyone()
        return TrainingEvent(state.step, seen.loss, seen.skipped, state.restored, validation_loss, self.log.aside_share)

    def _due(self, step: int, *, may_wait: bool) -> tuple[bool, bool]:
        """Whether a state and a sheet are due; where time decides, the main process's does, now and then."""
        paces = (self._states, self._sheets)
        due = [pace.is_due(step) and (may_wait or not pace.by_time) for pace in paces]
        if may_wait and self.accelerator.num_processes > 1 and any(pace.by_time for pace in paces):
            due = broadcast(torch.tensor(due, dtype=torch.int32, device=self.accelerator.device)).bool().tolist()
        return due[0], due[1]

    def _read(self, *, thorough: bool) -> Reading:
        """Waits for the device, reads its counts, and goes back to the last good weights if these are lost."""
        seen = self.state.tally.read()
        from_step = self.guard.restore_if_lost(seen, thorough=thorough)
        if from_step is not None:
            self.log.event("restored", self.state.step, from_step=from_step)
            seen = replace(seen, skipped_in_a_row=0)
        self._seen = seen
        return seen

    def _log(self, seen: Reading, validation_loss: float | None) -> None:
        figures: dict[str, float | int] = {
            "loss": seen.loss,
            "grad_norm": seen.grad_norm,
            "learning_rate": learning_rate(self.examples.training, self.state.step - 1),
            "skipped": seen.skipped,
        }
        if validation_loss is not None:
            figures["validation_loss"] = validation_loss
        self.log.figures(self.state.step, figures)
        self.state.tally.open_window()

    def _validation_loss(self, validation: Examples) -> float:
        """Returns the unweighted loss of the running mean of the weights on held-out draws, which stay the same."""
        config, training, generator = self.examples.config, self.examples.training, self.gradients.generator
        count, chunk = training.validation_images, self.gradients.chunk
        held_out = PreparedExamples(config, training, validation, held_out=count)
        draws = (list(range(start, min(start + chunk, count))) for start in range(0, count, chunk))
        total = torch.zeros((), device=generator.device)
        with torch.no_grad():
            for batch in prepared_batches(held_out, draws, generator.device, count=-(-count // chunk)):
                network = self.state.ema.module
                total += chunk_loss(
                    network,
                    config,
                    batch,
                    generator,
                    weight="none",
                    precision=training.precision,
                    teacher=self.gradients.teacher,
                )
        return total.item() / count

    def _draw_samples(self) -> None:
        """Draws a sheet of samples, of the same examples always."""
        config, training, step = self.examples.config, self.examples.training, self.state.step
        batch = {name: value.to(self.accelerator.device) for name, value in self._shown.items()}
        # twice as many pixels at once as in training, which keeps all that it computes for the way back
        crop_px = training.crop_px or config.image_px
        at_once = max(1, 2 * self.gradients.chunk * crop_px**2 // config.image_px**2)
        sheet = self.log.folder / "samples" / f"{step:07d}.png"
        try:
            precision = precision_named(training.precision)
            save_sample_sheet(sheet, self.state.ema.module, config, batch, at_once=at_once, precision=precision)
        except OSError as error:
            raise TrainingError(
                f"{sheet}: the samples cannot be written ({first_line(error)}); is the disk full?"
            ) from None

    @cached_property
    def _shown(self) -> Batch:
        """The examples on sheets, stacked, on the CPU."""
        shown = [self.examples.shown(draw) for draw in range(SHEET_IMAGES)]
        return {name: torch.stack([one[name] for one in shown]) for name in shown[0]}

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with self.log.aside(), self._telling_of_memory():
            yield

    @contextlib.contextmanager
    def _telling_of_memory(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            device, training = self.accelerator.device, self.examples.training
            raise TrainingError(out_of_memory_line(device, training, self.gradients.chunk)) from None


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Returns the learning rate of the step after `step` steps."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if training.learning_rate_decay == "none":
        return training.learning_rate
    left = training.steps - training.warmup_steps
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - training.warmup_steps) / max(left, 1)))
