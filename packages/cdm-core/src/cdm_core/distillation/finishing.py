"""Finishing: a student of few steps is trained on against a discriminator on real images.

Distillation by steps hands the teacher's faults on: blurred nuclei, grain. A student that is finished learns from real
images instead, at the few times at which it is asked, half of the time from its own sampling, so that training sees
what sampling meets.

Tried without success: hinge loss with spectral normalisation and a rate of 2e-4 (the discriminator learnt nothing
in 600 steps), R1 a hundred times as strong (the same; the student only got softer), and rates that stay: after some
800 steps the student drifts into a fine grain, which KID sees and the power spectrum does not.

Source: Sauer et al. 2023, 'Adversarial diffusion distillation', section 3; Yin et al. 2024, 'Improved distribution
    matching distillation', sections 4.3 (real images) and 4.4 (inputs from the student's own sampling).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.config_file import STRICT, one_line_errors
from cdm_core.devices.host_batch import copied_to
from cdm_core.devices.layout import channels_last
from cdm_core.diffusion.objective import predicted_x0
from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import sampling_times, step_weights
from cdm_core.distillation.discriminator import Adversary
from cdm_core.distillation.teacher import student_of
from cdm_core.errors import ConfigError
from cdm_core.stages.denoiser import Conditions

Predict = Callable[[Tensor, Tensor, Conditions], Tensor]
"""Gives a network's prediction, (B, 3, H, W), from x_t, its log-SNR, (B,), and the conditions."""


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class FinishingConfig:
    """How a student is finished on real images.

    Args:
        adversarial: Weight of the loss against the discriminator, once it has risen.
        starts_at: Step at which that weight begins to rise from zero: the discriminator learns first.
        rises_for: Steps in which it rises.
        lowres: Weight of the mean absolute difference between image and real image at the low resolution, which holds
            the student to its input; for stages that enlarge.
        image: Weight of the mean absolute difference to the real image, times alpha of the time, for steps that start
            from a noised real image.
        learning_rate: Of the discriminator, before it falls as the student's does.
        r1: Weight of the squared gradient of the discriminator on real images.
        r1_every: Steps between two with that term.
        widths: Channels of the discriminator's layers.

    Raises:
        ConfigError: A value outside its range.
    """

    adversarial: float = 0.05
    starts_at: int = 100
    rises_for: int = 200
    lowres: float = 1.0
    image: float = 0.5
    learning_rate: float = 5e-4
    r1: float = 1e-4
    r1_every: int = 16
    widths: tuple[int, ...] = (32, 64, 64, 128, 128)

    def __post_init__(self) -> None:
        for name in ("adversarial", "starts_at", "lowres", "image", "learning_rate", "r1"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is at least 0 and finite, got {getattr(self, name)}")
        if min(self.rises_for, self.r1_every, *self.widths, len(self.widths)) < 1:
            raise ValueError("rises_for, r1_every and widths are at least 1")


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class FinishingPlan:
    """How the student of a network is finished on real images.

    Args:
        training: How it is trained.
        losses: Its losses.
        steps: Steps of sampling that it is finished for; None for those that the student has. A network that is no
            student needs the number.
        time_power: Power of its times, see `SamplingConfig`; the student's own if None. A small last step leaves less
            of the noise behind that the network cannot tell from the image.
        share: Share of the finished weights in those that are kept; the rest is of those that finishing started from.
            Under 1 where it went too far: the image's contrast and detail grow with it.

    Raises:
        ConfigError: There is no step, or the share is not in (0, 1].

    Source: Wortsman et al. 2022, 'Robust fine-tuning of zero-shot models', section 3 (weights between two networks).
    """

    training: TrainingConfig = TrainingConfig(
        1000, 8, learning_rate=1e-4, ema_decay=0.998, log_every=20, checkpoint_every=200, sample_every=200
    )
    losses: FinishingConfig = FinishingConfig()
    steps: int | None = None
    time_power: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"a student takes at least 1 step, got {self.steps}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share lies in (0, 1], got {self.share}")

    def merged(self, start: nn.Module, finished: nn.Module) -> nn.Module:
        """Returns the finished network, in position, with the plan's share of its weights."""
        if self.share < 1:
            before = start.state_dict()
            finished.load_state_dict(
                {name: torch.lerp(before[name].to(new), new, self.share) for name, new in finished.state_dict().items()}
            )
        return finished

    def student(self, stage: StageConfig) -> StageConfig:
        """Returns the stage of a network as it is finished: that of its student.

        Raises:
            ConfigError: `steps` is missing, and the stage is no student's; or it has no student, or none that can be
                finished, see `student_of` and `check_finishing`.
        """
        if self.steps is None and stage.sampling.method != "ddim":
            raise ConfigError(
                f"finishing: the stage of {stage.image_px} px is sampled with {stage.sampling.method}, as no student "
                "is; set finishing.steps, the steps of its student, for example 4"
            )
        power = stage.sampling.time_power if self.time_power is None else self.time_power
        even = replace(stage, sampling=replace(stage.sampling, time_power=1.0))
        student = even if self.steps is None else student_of(even, self.steps)
        student = replace(student, sampling=replace(student.sampling, time_power=power))
        check_finishing(student)
        return student


def check_finishing(config: StageConfig) -> None:
    """Checks that the student of a stage can be finished.

    Raises:
        ConfigError: It is a latent stage, or is not sampled by steps of DDIM without fresh noise.
    """
    if config.unet.in_latents:
        raise ConfigError("a latent stage cannot be finished: the discriminator judges pixels")
    if config.sampling.method != "ddim" or config.sampling.eta:
        raise ConfigError(
            f"a student of DDIM with eta 0 can be finished, got {config.sampling.method} with eta "
            f"{config.sampling.eta}; make one with student_of"
        )


class Finisher:
    """The losses of a student's step, and the discriminator that learns from it.

    Args:
        stage: The student's stage, whose `sampling.steps` are those that it is finished for.
        config: How.
        adversary: The discriminator.

    Raises:
        ConfigError: See `check_finishing`.
    """

    def __init__(self, stage: StageConfig, config: FinishingConfig, adversary: Adversary) -> None:
        check_finishing(stage)
        self.stage, self.config, self.adversary = stage, config, adversary
        self.schedule = Schedule(stage.schedule)
        self.times = sampling_times(stage.sampling.steps, power=stage.sampling.time_power)
        self.weights = step_weights(self.schedule, self.times, method="ddim", eta=0.0)

    @classmethod
    def of(cls, stage: StageConfig, config: FinishingConfig, seed: int, device: torch.device) -> "Finisher":
        """Makes one with a new discriminator, whose weights come from the seed."""
        check_finishing(stage)
        adversary = Adversary(
            stage, widths=config.widths, learning_rate=config.learning_rate, r1=config.r1, seed=seed, device=device
        )
        return cls(stage, config, adversary)

    def position(self, step: int, seed: int) -> int:
        """Returns which of the student's times a step of training is for; the same in all processes.

        All examples of a training step share it, so that those from the student's own sampling have come equally far.
        """
        generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
        return int(torch.randint(len(self.weights), (), generator=generator))

    def starts(
        self, x0: Tensor, noise: Tensor, own: Tensor, position: int, conditions: Conditions, predict: Predict
    ) -> Tensor:
        """Returns the inputs of the student's step: noised real images, or samples from its own earlier steps.

        Args:
            x0: Real images in [-1, 1], (B, 3, H, W).
            noise: Standard normal, likewise.
            own: Which examples start from the student's own sampling, (B,) bool on the host.
            position: Number of the step of sampling, from 0.
            conditions: Of the batch.
            predict: The student.
        """
        t = torch.full((len(x0),), self.times[position], device=x0.device)
        x_t = self.schedule.add_noise(x0, t, noise)
        if position == 0 or not own.any():
            return x_t
        rows = copied_to(x0.device, own.nonzero()[:, 0])
        x, of_rows = noise[rows], conditions.rows(rows)
        with torch.no_grad():
            for (begin, _), weight in zip(pairwise(self.times[: position + 1]), self.weights, strict=False):
                at = torch.full((len(x),), begin, device=x.device)
                x = weight.x * x + weight.x0 * self._x0(x, at, of_rows, predict)
        return x_t.index_copy(0, rows, x)

    def __call__(
        self,
        x0: Tensor,
        noise: Tensor,
        own: Tensor,
        step: int,
        seed: int,
        conditions: Conditions,
        predict: Predict,
        *,
        share: int,
    ) -> Tensor:
        """Returns the student's loss summed over a batch, (), and lets the discriminator learn from its images.

        Args:
            x0: Real images in [-1, 1], (B, 3, H, W).
            noise: Standard normal, likewise.
            own: See `starts`.
            step: Steps of training before this one.
            seed: Of the run.
            conditions: Of the batch.
            predict: See `starts`.
            share: Examples of the whole step of this process.
        """
        config = self.config
        position = self.position(step, seed)
        t = torch.full((len(x0),), self.times[position], device=x0.device)
        x_t = channels_last(self.starts(x0, noise, own, position, conditions, predict))
        image = self._x0(x_t, t, conditions, predict, clamped=False)
        loss = torch.zeros(len(x0), device=x0.device)
        rise = min(max(step - config.starts_at, 0) / config.rises_for, 1.0)
        if rise > 0:
            loss = loss + config.adversarial * rise * self.adversary.fools(image, conditions)
        alpha = self.schedule.alpha_sigma(t)[0][:, 0, 0, 0]
        noised = copied_to(x0.device, ~own) if position else torch.zeros_like(alpha)
        loss = loss + config.image * alpha * noised * _difference(image, x0)
        if self.stage.lowres_px is not None:
            factor = self.stage.image_px // self.stage.lowres_px
            loss = loss + config.lowres * _difference(F.avg_pool2d(image, factor), F.avg_pool2d(x0, factor))
        regularised = step % config.r1_every == 0
        self.adversary.learn(x0, image, conditions, share=share, regularised=regularised)
        return loss.sum()

    def _x0(self, x_t: Tensor, t: Tensor, conditions: Conditions, predict: Predict, *, clamped: bool = True) -> Tensor:
        prediction = predict(x_t, self.schedule.log_snr(t), conditions)
        x0 = predicted_x0(self.stage.objective, self.schedule, prediction, x_t, t)
        return x0.clamp(-1, 1) if clamped and self.stage.sampling.threshold != "none" else x0


def _difference(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean(dim=(1, 2, 3))
