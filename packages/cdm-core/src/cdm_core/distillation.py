"""Progressive distillation: a student learns to do in one step what its teacher does in two, again and again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.denoiser import Conditions, Denoiser
from cdm_core.errors import ConfigError
from cdm_core.examples import Examples
from cdm_core.schedule import Schedule
from cdm_core.solver import step_weights

if TYPE_CHECKING:
    from cdm_core.training_run import TrainingEvent


def student_of(config: StageConfig, steps: int) -> StageConfig:
    """Returns the stage of a student: it takes so many steps of DDIM, and has its teacher's guidance in its weights.

    Raises:
        ConfigError: Its network predicts noise, which in few steps says nothing of the image; or there is no step.
    """
    if config.objective == "noise":
        raise ConfigError(
            f"the stage of {config.image_px} px predicts noise, from which no image can be told in few steps; train it "
            "on with objective 'v' first"
        )
    if steps < 1:
        raise ConfigError(f"a student takes at least 1 step, got {steps}")
    sampling = replace(
        config.sampling, steps=steps, method="ddim", eta=0.0, guidance=1.0, threshold="static", threshold_quantile=0.95
    )
    return replace(config, sampling=sampling)


def students_of(teacher_steps: int, least: int = 1) -> tuple[int, ...]:
    """Steps of the students one after the other, each half the one before, down to the least.

    The first takes fewer steps than the teacher, which itself is asked for twice the first's.

    Args:
        teacher_steps: Steps in which the first teacher is good.
        least: Those of the last student.

    Raises:
        ConfigError: The last would not take fewer steps than the teacher.

    >>> students_of(24, least=2)
    (16, 8, 4, 2)
    """
    if not 1 <= least < teacher_steps:
        raise ConfigError(f"students of {teacher_steps} steps take from 1 to {teacher_steps - 1}, not {least}")
    found = [least]
    while 2 * found[0] < teacher_steps:
        found.insert(0, 2 * found[0])
    return tuple(found)


@dataclass(frozen=True)
class Teacher:
    """A trained network, and what two of its steps make of an image: the target of a student's one step.

    Args:
        unet: The network.
        config: Its stage; guidance and threshold of its sampling go into the student.
        steps: Of the student.

    Source: Salimans and Ho 2022, 'Progressive distillation for fast sampling of diffusion models', algorithm 2.
    """

    unet: nn.Module
    config: StageConfig
    steps: int

    def start_of_step(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the number of the student's step that a time lies in, (B,), and the time at its start, (B,).

        Args:
            t: Times in [0, 1), (B,); 1 less such a time is how far sampling has come.
        """
        step = (t * self.steps).long().clamp(max=self.steps - 1)
        return step, 1 - step / self.steps

    def x0(self, x_t: Tensor, step: Tensor, conditions: Conditions) -> Tensor:
        """Returns the image that a student has to predict for its step to end where two steps of the teacher do.

        Args:
            x_t: At the starts of the steps, (B, C, H, W).
            step: The student's steps, (B,).
            conditions: Of the batch.
        """
        own, first, second = (table.to(x_t.device)[step].unbind(1) for table in self._weights)
        denoise = Denoiser(self.unet, self.config, conditions)
        t = 1 - step / self.steps
        with torch.no_grad():
            middle = _stepped(x_t, denoise(x_t, t), first)
            end = _stepped(middle, denoise(middle, t - 0.5 / self.steps), second)
        return (end - _wide(own[0]) * x_t) / _wide(own[1])

    @cached_property
    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of x_t and x0, (steps, 2), in the student's steps, and in the first and second of the teacher's in each."""
        own, teachers = (self._table(steps) for steps in (self.steps, 2 * self.steps))
        return own, teachers[0::2], teachers[1::2]

    def _table(self, steps: int) -> Tensor:
        places = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64).tolist()
        return torch.tensor([(each.x, each.x0) for each in step_weights(Schedule(self.config.schedule), places)])


@dataclass(frozen=True)
class DistillationEvent:
    """A step of a student's training; `steps` are those that the student takes."""

    steps: int
    training: "TrainingEvent"


def distill_stage(
    unet: nn.Module,
    config: StageConfig,
    training: TrainingConfig,
    examples: Examples,
    out_dir: Path,
    *,
    steps: Sequence[int],
    validation: Examples | None = None,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
) -> Iterator[DistillationEvent]:
    """Distils a stage, student after student, each the teacher of the next; the last is the result.

    Every student has a folder in `out_dir`, such as `8-steps`, as of `train_stage`, and starts from its teacher's
    weights. `load_trained(out_dir / "8-steps" / "state.pt", student_of(config, 8))` gives its network.

    Args:
        unet: The first teacher.
        config: Its stage.
        training: How each student is trained; 'truncated_snr' is the loss weight of the paper.
        examples: The data, as for training.
        out_dir: Where to; made if missing.
        steps: Of the students, one after the other; see `students_of`.
        validation: Held-out data.
        device: 'auto' takes an accelerator where there is one.
        resume: Go on with what is in `out_dir`.

    Yields:
        An event a step.

    Raises:
        ConfigError: The stage predicts noise, or a student does not take half its teacher's steps.
        ValueError, CheckpointError, TrainingError: As of `train_stage`.
    """
    from cdm_core.training import train_stage  # accelerate takes a second, which samplers need not wait for
    from cdm_core.training_state import load_trained

    for teacher_steps, student_steps in pairwise(steps):
        if teacher_steps != 2 * student_steps:
            raise ConfigError(f"a student takes half its teacher's steps, got {student_steps} after {teacher_steps}")
    teacher_config = config
    for count in steps:
        student = student_of(config, count)
        place = out_dir / f"{count}-steps"
        for event in train_stage(
            student,
            training,
            examples,
            place,
            validation=validation,
            device=device,
            initial=unet,
            teacher=Teacher(unet, teacher_config, count),
            resume=resume,
        ):
            yield DistillationEvent(count, event)
        unet, _ = load_trained(place / "state.pt", student)
        teacher_config = student


def _stepped(x_t: Tensor, x0: Tensor, weights: Sequence[Tensor]) -> Tensor:
    return _wide(weights[0]) * x_t + _wide(weights[1]) * x0


def _wide(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
