"""Training one stage of a cascade: a resumable loop that reports what it does as events."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.denoiser import Conditions
from cdm_core.errors import TrainingError
from cdm_core.examples import small_image, stage_image
from cdm_core.lowres import noised_lowres
from cdm_core.network import build_unet
from cdm_core.objective import training_target
from cdm_core.pictures import save_sample_sheet
from cdm_core.schedule import Schedule
from cdm_core.training_state import TrainingState, load_state, save_state

MAX_SKIPPED_IN_A_ROW = 20
SHEET_IMAGES = 6


class Examples(Protocol):
    """Training data: the n-th draw is always the same example, so that a resumed run sees what it would have seen.

    An example has `image`, (3, S, S), of the stage's size or larger; `cond_images`, (C, S, S), for a stage that is
    conditioned on images; and `lowres`, (3, s, s), where the low-resolution image is not the image made smaller. All
    are in [0, 1].
    """

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw; draws count from 0 without an end."""
        ...


@dataclass(frozen=True)
class TrainingEvent:
    """One step done: its number from 1, the loss, and how many steps were skipped so far for not being finite."""

    step: int
    loss: float
    skipped: int


def train_stage(
    config: StageConfig,
    training: TrainingConfig,
    examples: Examples,
    out_dir: Path,
    *,
    device: Literal["cpu", "auto"] = "auto",
    initial: nn.Module | None = None,
    resume: bool = False,
) -> Iterator[TrainingEvent]:
    """Trains one stage, a step each time the iterator is advanced.

    Writes into `out_dir`: `state.pt` (weights, their running mean, optimiser, step), `log.jsonl`, and
    `samples/STEP.png`. When the iterator is closed before its end, or the process interrupted, the state is saved;
    with `resume` a later run goes on from it along the same trajectory: examples, times and noise depend on the step
    alone.

    Args:
        config: The stage.
        training: How.
        examples: The data.
        out_dir: Where to; made if missing.
        device: 'auto' takes an accelerator where there is one.
        initial: Network to start from; fresh weights if not given.
        resume: Go on from `out_dir/state.pt` if it is there.

    Yields:
        An event a step.

    Raises:
        CheckpointError: The state cannot be read or is of another stage or configuration.
        TrainingError: Many steps in a row had no finite loss or gradient.
    """
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if training.precision == "bf16" else "no")
    torch_device = accelerator.device
    out_dir.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        unet = (initial or build_unet(config)).train().requires_grad_(True).to(torch_device)
    ema = AveragedModel(unet, multi_avg_fn=_ema_update(training.ema_decay))
    optimiser = torch.optim.AdamW(unet.parameters(), lr=training.learning_rate, betas=(0.9, 0.99))
    state = TrainingState(unet, ema, optimiser)
    state_path = out_dir / "state.pt"
    if resume and state_path.exists():
        load_state(state_path, state, config, training)
    log_path = out_dir / "log.jsonl"
    _cut_log(log_path, state.step)

    unet, optimiser = accelerator.prepare(unet, optimiser)
    loader = DataLoader(
        _Draws(examples, state.step * training.batch_size, training.steps * training.batch_size),
        batch_size=training.batch_size,
        num_workers=training.workers,
    )
    saved, skipped_in_a_row, started = state.step, 0, time.monotonic()
    try:
        with log_path.open("a", encoding="utf-8") as log:
            for batch in loader:
                learning_rate = _learning_rate(training, state.step)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate
                with accelerator.autocast():
                    loss = _loss(unet, config, training.seed, state.step, batch, torch_device)
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(unet.parameters(), training.max_grad_norm)
                finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
                if finite:
                    optimiser.step()
                    ema.update_parameters(accelerator.unwrap_model(unet))
                optimiser.zero_grad(set_to_none=True)
                state.skipped += not finite
                skipped_in_a_row = 0 if finite else skipped_in_a_row + 1
                if skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
                    raise TrainingError(
                        f"{out_dir}: {skipped_in_a_row} steps in a row without a finite loss; lower learning_rate"
                    )
                state.step += 1
                if state.step % training.log_every == 0 or state.step == training.steps:
                    line = {
                        "step": state.step,
                        "loss": loss.item(),
                        "grad_norm": float(norm),
                        "learning_rate": learning_rate,
                        "skipped": state.skipped,
                        "seconds": round(time.monotonic() - started, 3),
                    }
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                if state.step % training.checkpoint_every == 0 or state.step == training.steps:
                    save_state(state_path, state, config, training)
                    saved = state.step
                if state.step % training.sample_every == 0 or state.step == training.steps:
                    sheet = out_dir / "samples" / f"{state.step:07d}.png"
                    save_sample_sheet(sheet, ema.module, config, _sheet_batch(examples, torch_device))
                yield TrainingEvent(state.step, loss.item(), state.skipped)
    finally:
        if state.step > saved and skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
            save_state(state_path, state, config, training)


class _Draws(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The draws from `first` up to `end`, as the data set that a loader wants."""

    def __init__(self, examples: Examples, first: int, end: int) -> None:
        self.examples, self.first, self.end = examples, first, end

    def __len__(self) -> int:
        return self.end - self.first

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return self.examples[self.first + i]


def _loss(
    unet: nn.Module, config: StageConfig, seed: int, step: int, batch: dict[str, Tensor], device: torch.device
) -> Tensor:
    """Returns the mean squared error of the network's prediction at random times; all randomness is the step's."""
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
    batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    x0 = stage_image(config, batch) * 2 - 1
    conditions = Conditions(batch.get("cond_images"))
    lowres = small_image(config, batch)
    if lowres is not None:
        lowres_t = torch.rand(len(x0), generator=generator, device=device) * config.max_lowres_noise
        lowres_noise = torch.randn(x0.shape, generator=generator, device=device)
        noised, log_snr = noised_lowres(config, lowres * 2 - 1, lowres_t, lowres_noise)
        conditions = Conditions(conditions.cond_images, noised, log_snr)
    schedule = Schedule(config.schedule)
    t = torch.rand(len(x0), generator=generator, device=device)
    noise = torch.randn(x0.shape, generator=generator, device=device)
    prediction = unet(schedule.add_noise(x0, t, noise), schedule.log_snr(t), **conditions.of_network())
    target = training_target(config.objective, schedule, x0, noise, t)
    return F.mse_loss(prediction.float(), target)


def _ema_update(decay: float):  # type: ignore[no-untyped-def]  # torch's own type of the callback is private
    """Returns the averaging step of the weights; young averages forget faster, so that the random start is lost."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        n = float(n_averaged)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update


def _learning_rate(training: TrainingConfig, step: int) -> float:
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    left = training.steps - training.warmup_steps
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - training.warmup_steps) / max(left, 1)))


def _cut_log(path: Path, step: int) -> None:
    """Drops the lines of steps that are to be run again."""
    if path.exists():
        # A killed run may leave half a line, of a later step.
        *lines, _half = path.read_text(encoding="utf-8").split("\n")
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _sheet_batch(examples: Examples, device: torch.device) -> dict[str, Tensor]:
    """Returns the examples that every sheet of samples shows."""
    shown = [examples[draw] for draw in range(SHEET_IMAGES)]
    return {name: torch.stack([example[name] for example in shown]).to(device) for name in shown[0]}
