"""Monitoring of a training between its steps: reads counts, measures and logs losses, saves states and samples."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from cdm_core.config import TrainingConfig
from cdm_core.devices.batch_size import is_out_of_memory
from cdm_core.devices.pacing import Pace
from cdm_core.distillation.teacher import Teacher
from cdm_core.errors import TrainingError
from cdm_core.stages.examples import Examples
from cdm_core.stages.inference import precision_named
from cdm_core.stages.pictures import SHEET_IMAGES, save_sample_sheet
from cdm_core.training.guard import Guard
from cdm_core.training.log import TrainingLog
from cdm_core.training.losses import chunk_loss
from cdm_core.training.prepared_examples import Batch, PreparedExamples, prepared_batches
from cdm_core.training.state import TrainingState
from cdm_core.training.tally import Reading
from run_folder import first_line


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
class Monitor:
    """Looks after a training run between its steps.

    Args:
        examples: The data, which know the stage and how it is trained.
        validation: Held-out data.
        accelerator: Of the run.
        state: Of the run.
        teacher: The model that supplies the targets, if there is one.
        guard: Saves the state.
        log: Of the run.
    """

    examples: PreparedExamples
    validation: Examples | None
    accelerator: Accelerator
    state: TrainingState
    teacher: Teacher | None
    guard: Guard
    log: TrainingLog
    _seen: Reading | None = None

    def __post_init__(self) -> None:
        training = self.examples.training
        self._states, self._sheets = Pace(training.checkpoint_every), Pace(training.sample_every)

    def after_step(self, learning_rate: float, chunk: int) -> TrainingEvent:
        """Reads the counts, measures, logs, saves and samples, each after the steps that are due for it.

        Args:
            learning_rate: Of the step.
            chunk: Examples that the device has room for.
        """
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
            with self._aside(chunk):
                validation_loss = self._validation_loss(self.validation, chunk)
        if logs:
            self._log(seen, learning_rate, validation_loss)
        if saves or (draws and main):
            with self._aside(chunk):
                if saves:
                    with self._states.taken():
                        self.guard.save_if_good(seen, last=last)
                if draws and main:
                    with self._sheets.taken():
                        self._draw_samples(chunk)
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

    def _log(self, seen: Reading, learning_rate: float, validation_loss: float | None) -> None:
        values: dict[str, float | int] = {
            "loss": seen.loss,
            "grad_norm": seen.grad_norm,
            "learning_rate": learning_rate,
            "skipped": seen.skipped,
        }
        if validation_loss is not None:
            values["validation_loss"] = validation_loss
        self.log.write(self.state.step, values)
        self.state.tally.open_window()

    def _validation_loss(self, validation: Examples, chunk: int) -> float:
        """Returns the unweighted loss of the running mean of the weights on held-out draws, which stay the same."""
        config, training, count = self.examples.config, self.examples.training, self.examples.training.validation_images
        generator = torch.Generator(self.accelerator.device)
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
                    teacher=self.teacher,
                )
        return total.item() / count

    def _draw_samples(self, chunk: int) -> None:
        """Draws a sheet of samples, of the same examples always."""
        config, training, step = self.examples.config, self.examples.training, self.state.step
        batch = {name: value.to(self.accelerator.device) for name, value in self._shown.items()}
        # twice as many pixels at once as in training, which keeps all that it computes for the way back
        crop_px = training.crop_px or config.image_px
        at_once = max(1, 2 * chunk * crop_px**2 // config.image_px**2)
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
    def _aside(self, chunk: int) -> Iterator[None]:
        with self.log.aside(), memory_errors(self.accelerator.device, self.examples.training, chunk):
            yield


@contextlib.contextmanager
def memory_errors(device: torch.device, training: TrainingConfig, chunk: int) -> Iterator[None]:
    """Turns errors of a full memory in the block into a `TrainingError` of one line.

    Args:
        device: Whose memory it is.
        training: How the network is trained.
        chunk: Examples on the device at once.
    """
    try:
        yield
    except TrainingError:  # has its line already
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(out_of_memory_line(device, training, chunk)) from None


def out_of_memory_line(device: torch.device, training: TrainingConfig, chunk: int) -> str:
    """Returns the error message for a device whose memory is full, with the setting to lower."""
    if chunk == 1:
        advice = "one image does not fit; lower crop_px or unet.dim"
    elif training.chunk_size == "auto":
        advice = "set chunk_size to a lower number; 'auto' cannot lower it here"  # several processes would part ways
    else:
        advice = "lower chunk_size, or set it to 'auto'"
    return f"out of memory on {device} with chunk_size = {chunk}: {advice}"
