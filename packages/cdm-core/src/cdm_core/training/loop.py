"""Training one stage of a cascade: a resumable loop, on any number of processes, that reports its steps as events."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.devices.arithmetic import gpu_arithmetic
from cdm_core.devices.batch_size import is_out_of_memory
from cdm_core.devices.processes import PATIENCE, Interruption
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.distillation.teacher import Teacher
from cdm_core.errors import ConfigError, TrainingError
from cdm_core.stages.examples import Examples
from cdm_core.stages.inference import compiling
from cdm_core.training.guard import Guard
from cdm_core.training.log import TrainingLog
from cdm_core.training.losses import chunk_loss, finishing_loss
from cdm_core.training.monitor import Monitor, TrainingEvent, memory_errors, out_of_memory_line
from cdm_core.training.prepared_examples import Batch, PreparedExamples, prepared_batches
from cdm_core.training.running_mean import update_ema
from cdm_core.training.setup import (
    agree_on_step,
    check_examples,
    check_training,
    claim,
    new_state,
    release_memory,
    resolved,
    teacher_at_work,
)
from cdm_core.training.state import STATE_FILE, TrainingState, load_state

__all__ = ["TrainingEvent", "check_training", "train_stage"]


@dataclass
class TrainingLoop:
    """The iterations of a training.

    Args:
        config: The stage.
        training: How it is trained.
        accelerator: Of the run.
        network: The stage's, as the accelerator prepared it.
        state: Weights, running mean, optimiser and counts, which an iteration changes.
        teacher: The model that supplies the targets; otherwise the examples do.

    Attributes:
        share: Examples of an iteration that are this process's.
        chunk: Examples on the device at once; falls when `chunk_size` is 'auto' and memory runs out.
        generator: On the device; seeded anew for each example.
    """

    config: StageConfig
    training: TrainingConfig
    accelerator: Accelerator
    network: nn.Module
    state: TrainingState
    teacher: Teacher | None = None
    share: int = field(init=False)
    chunk: int = field(init=False)
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.share = self.training.batch_size // self.accelerator.num_processes
        self.chunk = even_chunk(self.training, self.share, self.training.chunk_size)
        self.generator = torch.Generator(self.accelerator.device)

    def iterate(self, batch: Batch) -> None:
        """Does one iteration, from the forward pass to the running mean; the host does not wait for the device.

        Args:
            batch: This process's share of the examples, prepared and stacked, on the CPU.

        Raises:
            TrainingError: The device's memory does not hold a chunk, and chunks are not to get smaller.
        """
        state, training, accelerator = self.state, self.training, self.accelerator
        adversary = None if state.finisher is None else state.finisher.adversary

        # Forward and backward, chunk by chunk: gradients add up to those of the share's mean loss.
        while True:
            loss = torch.zeros((), device=accelerator.device)
            try:
                for start in range(0, self.share, self.chunk):
                    end = min(start + self.chunk, self.share)
                    # the processes add up their gradients once, after the last chunk
                    waits = accelerator.no_sync(self.network) if end < self.share else contextlib.nullcontext()
                    with waits:
                        summed = self._loss({name: value[start:end] for name, value in batch.items()})
                        (summed / self.share).backward()  # type: ignore[no-untyped-call]
                    loss += summed.detach() / self.share
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve_chunk()  # after the handler, whose error keeps the failed chunk's tensors alive

        # The mean of all processes; the network's own gradients are averaged already.
        for gradient in () if adversary is None else adversary.gradients():
            gradient.copy_(accelerator.reduce(gradient, reduction="mean"))
        loss = accelerator.reduce(loss, reduction="mean")

        # Clip. If loss or norm is not finite, weights, moments and running mean stay as they are, to the bit. That is
        # decided on the device.
        norm = clip_grad_norm_(state.weights, training.max_grad_norm)
        finite = torch.isfinite(loss) & torch.isfinite(norm)

        # Optimiser, discriminator, running mean and counts: all of them, even if Ctrl-C comes in between.
        with state.whole_step():
            rate = learning_rate(training, state.step)
            for group in state.optimiser.param_groups:
                group["lr"] = rate
            # as torch.amp.GradScaler does: the fused kernel leaves everything alone where this is 1
            state.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
            state.optimiser.step()
            if adversary is not None:
                base = state.optimiser.defaults["lr"]
                adversary.advance(rate / base if base else 1.0, (~finite).float())
            update_ema(state.averages, state.weights, state.ema.n_averaged, training.ema_decay, finite)
            state.tally.add(loss, norm, finite)
            state.step += 1
        state.optimiser.zero_grad(set_to_none=True)

    def _loss(self, chunk: Batch) -> Tensor:
        """Returns the sum of a chunk's losses, ()."""
        if self.state.finisher is not None:
            return finishing_loss(
                self.network,
                self.config,
                chunk,
                self.generator,
                training=self.training,
                finisher=self.state.finisher,
                share=self.share,
            )
        return chunk_loss(
            self.network,
            self.config,
            chunk,
            self.generator,
            weight=self.training.loss_weight,
            precision=self.training.precision,
            teacher=self.teacher,
        )

    def _halve_chunk(self) -> None:
        """Halves the chunk, and drops what the failed one left.

        Raises:
            TrainingError: Chunks are not to get smaller.
        """
        alone = self.accelerator.num_processes == 1
        if self.training.chunk_size != "auto" or self.chunk == 1 or not alone:
            raise TrainingError(out_of_memory_line(self.accelerator.device, self.training, self.chunk))
        self.network.zero_grad(set_to_none=True)
        if self.state.finisher is not None:
            self.state.finisher.adversary.network.zero_grad(set_to_none=True)
        self.chunk = even_chunk(self.training, self.share, self.chunk // 2)
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()


def even_chunk(training: TrainingConfig, share: int, largest: int | Literal["auto"] | None) -> int:
    """Returns how many examples of a share are on the device at once: the largest number that is allowed.

    A compiled network is compiled anew for each size, so there the chunks are all of one size.

    Args:
        training: How the network is trained.
        share: Examples of an iteration that are this process's.
        largest: The most; all of the share if it is no number.
    """
    chunk = min(largest, share) if isinstance(largest, int) else share
    if not training.compile:
        return chunk
    return next(size for size in range(chunk, 0, -1) if share % size == 0)


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Returns the learning rate of the step after `step` steps."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if training.learning_rate_decay == "none":
        return training.learning_rate
    left = training.steps - training.warmup_steps
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - training.warmup_steps) / max(left, 1)))


def train_stage(
    config: StageConfig,
    training: TrainingConfig,
    examples: Examples,
    out_dir: Path,
    *,
    validation: Examples | None = None,
    device: Literal["cpu", "auto"] = "auto",
    initial: nn.Module | None = None,
    teacher: Teacher | None = None,
    finishing: FinishingConfig | None = None,
    resume: bool = False,
) -> Iterator[TrainingEvent]:
    """Trains one stage, a step each time the iterator is advanced.

    Writes into `out_dir`: `state.pt` (weights, their running mean, optimiser, step), `log.jsonl`, `samples/STEP.png`,
    and a folder for each tracker. When the iterator is closed before its end, or the process interrupted, the state is
    saved; with `resume` a later run goes on from it along the same trajectory: examples and times depend on the draw
    alone, noise on the draw and on the kind of device, see `cdm_core.training.losses`. Under `accelerate launch` or
    `torchrun` every process calls this alike, with `out_dir` on a file system that all of them see; only the main one
    writes.

    On a GPU, all of the process calculates in TF32 where it calculates in float32, see `cdm_core.devices.arithmetic`,
    and with the fastest algorithms of cuDNN, until the iterator ends.

    A step whose loss or gradient is not finite is skipped. After many in a row, the weights go back to the last state
    on disk, and the data move on.

    Args:
        config: The stage.
        training: How.
        examples: The data.
        out_dir: Folder of the run; made if missing.
        validation: Held-out data, whose loss under the running mean of the weights is measured now and then.
        device: 'auto' takes an accelerator where there is one.
        initial: Network to start from, which is not changed; fresh weights if not given.
        teacher: The model that supplies the targets, see `cdm_core.distillation.teacher`; its network is not changed.
        finishing: How a student is finished on real images, see `cdm_core.distillation.finishing`; `initial` is then
            the student, and `training.loss_weight` plays no part.
        resume: Go on from `out_dir/state.pt` if it is there. Without it, a folder that holds a run is refused.

    Yields:
        An event a step.

    Raises:
        ConfigError: See `check_training`.
        ValueError: An example lacks something that the stage takes, or has it in another type, shape or range. The
            examples of the first step, of the last draw and of the sheets are checked before anything is trained.
        CheckpointError: The folder holds a run and `resume` is not set, another process trains in it, or it cannot be
            written; the state cannot be read or is of another stage or configuration; `initial` does not fit.
        TrainingError: The device's memory is too small, or many steps had no finite loss or gradient and going back did
            not help; `PeerError`, one of them, if another process of the run could not start.
        KeyboardInterrupt: Ctrl-C; with several processes, after a step that all of them have done.
    """
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",  # with accelerate a process has one precision for good; here each run has its own
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
        ],
    )
    path = out_dir / STATE_FILE
    release_memory(accelerator.device)
    with contextlib.ExitStack() as held:
        if accelerator.device.type == "cuda":
            held.enter_context(gpu_arithmetic("tf32", fixed_shapes=True))
        try:
            check_training(config, training, processes=accelerator.num_processes)
            if accelerator.is_main_process:
                claim(out_dir, training, held, resume=resume)
            if teacher is not None and finishing is not None:
                raise ConfigError("a student learns from a teacher or is finished, not both; finish it afterwards")
            resumed = resume and path.exists()
            training = resolved(training, accelerator.device, path if resumed else None)
            state = new_state(config, training, initial, accelerator.device, finishing)
            if resumed:
                load_state(path, state, config, training)
            prepared = PreparedExamples(config, training, examples)
            check_examples(prepared, validation, state.step, accelerator)
        except Exception:
            agree_on_step(accelerator, None, out_dir)  # else the other processes would wait for this one
            raise
        first, share = state.step, training.batch_size // accelerator.num_processes
        agree_on_step(accelerator, first, out_dir)
        starts = (
            step * training.batch_size + accelerator.process_index * share for step in range(first, training.steps)
        )
        draws = (list(range(start, start + share)) for start in starts)
        if teacher is not None:
            teacher = teacher_at_work(teacher, accelerator.device, training)
        network = accelerator.prepare_model(state.unet)
        loop = TrainingLoop(config, training, accelerator, network, state, teacher)
        saved_step = first if resumed else None
        guard = Guard(path, state, config, training, saved_step=saved_step, writes=accelerator.is_main_process)
        with (
            Interruption(accelerator, training.log_every) as interruption,
            TrainingLog(out_dir, first, training.batch_size, accelerator, training.trackers) as log,
        ):
            monitor = Monitor(prepared, validation, accelerator, state, teacher, guard, log)
            try:
                for batch in prepared_batches(prepared, draws, accelerator.device):
                    chunk = loop.chunk
                    with (
                        compiling(TrainingError, "set compile = false and go on with resume"),
                        memory_errors(accelerator.device, training, chunk),
                    ):
                        loop.iterate(batch)
                    if loop.chunk != chunk:
                        log.event("chunk_size", state.step, chunk_size=loop.chunk)
                    event = monitor.after_step(learning_rate(training, state.step - 1), loop.chunk)
                    interruption.check(event.step)
                    yield event
            finally:
                guard.save_at_exit()
