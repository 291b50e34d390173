"""Distillation: a student learns to do in one step what its teacher does in several."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from cdm_core.config import StageConfig
from cdm_core.diffusion.objective import predicted_x0
from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import StepWeights, step_weights
from cdm_core.errors import ConfigError
from cdm_core.stages.denoiser import Conditions, Denoiser

DistillationMethod = Literal["progressive", "consistency"]
Predict = Callable[[Tensor, Tensor], Tensor]


def student_of(config: StageConfig, steps: int, *, guidance: tuple[float, float] | None = None) -> StageConfig:
    """Returns the stage of a student: it takes so many steps of DDIM, and has its teacher's guidance in its weights.

    Args:
        config: The teacher's.
        steps: The student's.
        guidance: Least and largest weight of the embedding that it learns; `sampling.guidance` then chooses one. If
            not given it learns the teacher's own weight, or goes on with the range that its teacher knows.

    Raises:
        ConfigError: Its network predicts noise, which in few steps does not determine the image; there is no step; or
            it has no embedding, or knows a range of weights already; or its times are not evenly spaced.
    """
    if config.objective == "noise":
        raise ConfigError(
            f"the stage of {config.image_px} px predicts noise, from which no image follows in few steps; train it "
            "on with objective 'v' first"
        )
    if config.sampling.time_power != 1:
        raise ConfigError(
            f"the stage of {config.image_px} px has time_power {config.sampling.time_power:g}; students take halves of "
            "even steps: distil the model that it was made of"
        )
    if steps < 1:
        raise ConfigError(f"a student takes at least 1 step, got {steps}")
    sampling = replace(
        config.sampling,
        steps=steps,
        method="ddim",
        eta=0.0,
        threshold="none" if config.sampling.threshold == "none" else "static",
        threshold_quantile=0.95,
    )
    if guidance is None and config.guidance_input is None:
        sampling = replace(sampling, guidance=1.0)
    if guidance is None:
        return replace(config, sampling=sampling)
    if config.guidance_input is not None or config.unet.text_embed_dim is None:
        fault = "no embedding to weigh" if config.guidance_input is None else "its range of weights already"
        raise ConfigError(f"guidance as an input: the stage of {config.image_px} px has {fault}")
    least, largest = guidance
    sampling = replace(sampling, guidance=min(max(config.sampling.guidance, least), largest))
    return replace(config, guidance_input=guidance, sampling=sampling)


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
    steps = [least]
    while 2 * steps[0] < teacher_steps:
        steps.insert(0, 2 * steps[0])
    return tuple(steps)


@dataclass(frozen=True)
class Teacher:
    """A trained network, and the target of a student's step that follows from it.

    The teacher goes one part of a student's step. The rest is gone by the teacher as well ('progressive', where a part
    is half of the step), or by the student as it is now ('consistency', which starts at any of the step's parts).
    Either way the student is sampled with steps of DDIM.

    Args:
        unet: The network.
        config: Its stage; guidance and threshold of its sampling go into the student.
        steps: Of the student.
        method: How it is taught.
        parts: Of a student's step, with 'consistency': the teacher is taken as good in `parts * steps` steps.

    Source: Salimans and Ho 2022, 'Progressive distillation for fast sampling of diffusion models', algorithm 2; Heek et
        al. 2024, 'Multistep consistency models', algorithm 1, with a fixed number of parts.
    """

    unet: nn.Module
    config: StageConfig
    steps: int
    method: DistillationMethod = "progressive"
    parts: int = 8

    def position(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the position in sampling at which a student is trained, (B,), and its time, (B,).

        Args:
            t: Times in [0, 1), (B,); 1 less such a time is how far sampling has come.
        """
        count = len(self._times)
        position = (t * count).long().clamp(max=count - 1)
        return position, 1 - position / count

    def x0(
        self, x_t: Tensor, position: Tensor, conditions: Conditions, student: Predict, *, guidance: Tensor | None = None
    ) -> Tensor:
        """Returns the image that a student has to predict for its step to end where it should.

        Args:
            x_t: At the places, (B, C, H, W).
            position: As of the method of that name, (B,).
            conditions: Of the batch.
            student: Gives the student's prediction, (B, C, H, W), from x_t and its log-SNR, (B,).
            guidance: Weights of the embedding to teach, (B,); the stage's own if not given.
        """
        times, weights = self._tables(x_t.device)
        (begin, middle), (own, first, second) = times[position].unbind(1), weights[position].unbind(1)
        teacher = Denoiser(self.unet, self.config, conditions, guidance)
        with torch.no_grad():
            x_middle = _stepped(x_t, teacher(x_t, begin), first)
            if self.method == "consistency":
                schedule = teacher.schedule
                prediction = student(x_middle, schedule.log_snr(middle))
                x0 = predicted_x0(self.config.objective, schedule, prediction, x_middle, middle)
                x0 = x0 if self.config.sampling.threshold == "none" else x0.clamp(-1, 1)
            else:
                x0 = teacher(x_middle, middle)
            end = _stepped(x_middle, x0, second)
        return (end - _wide(own[:, 0]) * x_t) / _wide(own[:, 1])

    @cached_property
    def _times(self) -> list[tuple[float, float, float]]:
        """For each position: the student's time, the time up to which its teacher goes, and that of the step's end."""
        if self.method == "progressive":
            count = self.steps
            return [(1 - i / count, 1 - (i + 0.5) / count, 1 - (i + 1) / count) for i in range(count)]
        count = self.steps * self.parts
        return [(1 - i / count, 1 - (i + 1) / count, 1 - (i // self.parts + 1) / self.steps) for i in range(count)]

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns `_time_table` and `_weights` on a device, where they are copied once: the host waits for that."""
        if device not in self._moved:
            self._moved[device] = self._time_table.to(device), self._weights.to(device)
        return self._moved[device]

    @cached_property
    def _moved(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    @cached_property
    def _time_table(self) -> Tensor:
        """Times, (places, 2), at which a student is trained and up to which its teacher goes."""
        return torch.tensor([times[:2] for times in self._times])

    @cached_property
    def _weights(self) -> Tensor:
        """Of x_t and x0, (places, 3, 2), in the student's step, in the teacher's part of it, and in the rest."""
        schedule = Schedule(self.config.schedule)
        table = []
        for begin, middle, end in self._times:
            own, first = (step_weights(schedule, (begin, until), method="ddim")[0] for until in (end, middle))
            # After the last part nothing is left to go.
            rest = (
                [step_weights(schedule, (middle, end), method="ddim")[0]]
                if middle > end + 1e-9
                else [StepWeights(1.0, 0.0)]
            )
            table.append([(each.x, each.x0) for each in (own, first, *rest)])
        return torch.tensor(table)


def _stepped(x_t: Tensor, x0: Tensor, weights: Tensor) -> Tensor:
    return _wide(weights[:, 0]) * x_t + _wide(weights[:, 1]) * x0


def _wide(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
