"""Configurations of stages, cascades and trainings: frozen, checked when made, the same in Python and `model.toml`."""

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Tag
from pydantic.dataclasses import dataclass

from cdm_core.config_file import STRICT, check_counts, one_line_errors
from cdm_core.diffusion.objective import LossWeight, Objective
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.diffusion.solver import DEFAULT_METHOD, SOLVERS, Method, eta_methods
from cdm_core.networks.imagen import UnetConfig
from cdm_core.networks.latent import Betas, LatentUnetConfig

__all__ = [
    "Betas",
    "CascadeConfig",
    "LatentUnetConfig",
    "NetworkConfig",
    "SamplingConfig",
    "StageConfig",
    "Threshold",
    "TrainingConfig",
    "UnetConfig",
]

Threshold = Literal["static", "dynamic", "none"]


def _kind_of_network(value: object) -> str:
    fields = value if isinstance(value, dict) else getattr(value, "__dict__", ())
    return "latent" if "autoencoder" in fields else "imagen"


NetworkConfig = Annotated[
    Annotated[UnetConfig, Tag("imagen")] | Annotated[LatentUnetConfig, Tag("latent")], Discriminator(_kind_of_network)
]


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class SamplingConfig:
    """How a stage is sampled by default.

    Args:
        steps: Number of denoising steps.
        method: Solver.
        eta: For 'ddim', the share of the noise that each step replaces: 0 is deterministic, 1 is 'ddpm'.
        time_power: Times are evenly spaced ones to this power: over 1, the last steps are the smallest.
        lowres_noise: Time in [0, 1] up to which the low-resolution input is noised.
        truncated: Within a cascade, the stage before stops at that time, instead of going on to a clean image that is
            noised again; the stage must have been trained with `noise_before_resize`.
        guidance: Weight of the embedding, 1 + w of classifier-free guidance; 1 is none.
        threshold: How x0 is kept in range: 'static' clips to [-1, 1]; 'dynamic' first divides by a high quantile of its
            absolute values where that is over 1, so that large guidance does not saturate; 'none' leaves it, which is
            for latents.
        threshold_quantile: That quantile.

    Raises:
        ConfigError: A value outside its range.
    """

    steps: int = 250
    method: Method = DEFAULT_METHOD
    eta: float = 0.0
    time_power: float = 1.0
    lowres_noise: float = 0.2
    truncated: bool = False
    guidance: float = 1.0
    threshold: Threshold = "static"
    threshold_quantile: float = 0.95

    def __post_init__(self) -> None:
        check_counts(self, "steps")
        if not math.isfinite(self.guidance):
            raise ValueError(f"guidance is a finite number, got {self.guidance}")
        if not 0 < self.time_power < math.inf:
            raise ValueError(f"time_power is positive and finite, got {self.time_power}")
        for name in ("eta", "lowres_noise", "threshold_quantile"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {getattr(self, name)}")
        if self.eta and not SOLVERS[self.method].takes_eta:
            raise ValueError(f"eta is for method {' or '.join(eta_methods())}, not for '{self.method}'")
        if self.truncated and self.lowres_noise == 1:
            raise ValueError(f"truncated sampling stops before time 1, got lowres_noise {self.lowres_noise}")

    @property
    def is_stochastic(self) -> bool:
        """Whether the steps draw fresh noise."""
        return max(SOLVERS[self.method].eta, self.eta) > 0


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class StageConfig:
    """One diffusion model of a cascade.

    Args:
        image_px: Side of the images it makes.
        unet: Its network.
        lowres_px: Side of the low-resolution images it enlarges; None for a base model.
        schedule: Noise schedule.
        objective: What its network predicts.
        lowres_schedule: Noise schedule of the low-resolution input.
        max_lowres_noise: Training noises the low-resolution input up to a random time below this.
        lowres_resize: How the low-resolution input is brought to the stage's size.
        lowres_blur: Share of the training examples whose low-resolution input is blurred, with a Gaussian of 3 x 3 px
            and a standard deviation between 0.4 and 0.6 px.
        noise_before_resize: Noise the low-resolution input at its own size rather than at the stage's.
        guidance_input: Least and largest weight of the embedding that the network knows, where it gets the weight,
            as an image of one value, and guides itself; see `cdm_core.distillation.teacher`.
        sampling: How it is sampled.

    Raises:
        ConfigError: The stage would not enlarge its input, its side is no multiple of what its network halves, or a
            value is outside its range.
    """

    image_px: int
    unet: NetworkConfig
    lowres_px: int | None = None
    schedule: ScheduleName = "cosine"
    objective: Objective = "v"
    lowres_schedule: ScheduleName = "cosine"
    max_lowres_noise: float = 0.4
    lowres_resize: Literal["bilinear", "nearest"] = "bilinear"
    lowres_blur: float = 0.0
    noise_before_resize: bool = False
    guidance_input: tuple[float, float] | None = None
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        check_counts(self, "image_px")
        self.unet.check_stage(self.image_px, self.lowres_px, self.sampling.threshold)
        if self.lowres_px is not None and not 0 < self.lowres_px < self.image_px:
            raise ValueError(f"lowres_px {self.lowres_px} must lie between 0 and image_px {self.image_px}")
        for name in ("max_lowres_noise", "lowres_blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {getattr(self, name)}")
        if self.sampling.truncated and not self.noise_before_resize:
            raise ValueError("truncated sampling passes on a small noisy image: set noise_before_resize")
        if (self.sampling.guidance != 1 or self.guidance_input) and self.unet.text_embed_dim is None:
            raise ValueError("guidance weighs an embedding: the network has none, set unet.text_embed_dim")
        least, largest = self.guidance_input or (-math.inf, math.inf)
        if not least < largest or (self.guidance_input and not math.isfinite(largest - least)):
            raise ValueError(f"guidance_input goes from the least to the largest weight, got {least} to {largest}")
        if not least <= self.sampling.guidance <= largest:
            raise ValueError(
                f"the network was taught guidance from {least:g} to {largest:g}, not {self.sampling.guidance:g}"
            )

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of what is sampled: of an image, or of its latents."""
        return self.unet.sample_shape(self.image_px)


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class CascadeConfig:
    """A base model and the super-resolution models that follow it.

    Args:
        stages: From the smallest image to the largest. The first may be a super-resolution model too: such a cascade
            starts from an image that it is given.
    """

    stages: tuple[StageConfig, ...]

    def __post_init__(self) -> None:
        """Checks that each stage takes what the one before makes.

        Raises:
            ValueError: No stage, or two stages that do not fit.
        """
        if not self.stages:
            raise ValueError("a cascade has at least one stage")
        for lower, upper in zip(self.stages, self.stages[1:], strict=False):
            if upper.lowres_px != lower.image_px:
                raise ValueError(f"a stage enlarges {upper.lowres_px} px but the one before makes {lower.image_px} px")
            if upper.sampling.truncated and lower.unet.in_latents:
                raise ValueError("truncated sampling hands on a noisy image, which a latent stage does not make")
            if upper.sampling.truncated and upper.lowres_schedule != lower.schedule:
                raise ValueError("truncated sampling wants lowres_schedule to be the schedule of the stage before")


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How a stage is trained.

    Args:
        steps: Optimiser steps in all.
        batch_size: Images a step, of all processes together.
        chunk_size: Images that a process has on its device at once; gradients of the chunks of a step are added up.
            None takes its share of the batch whole, 'auto' starts there and halves when the device runs out of memory.
            The result stays the same but for rounding.
        learning_rate: After warm-up.
        learning_rate_decay: From there it falls to zero along a cosine, or stays.
        warmup_steps: Steps in which the learning rate rises from zero.
        weight_decay: Of AdamW.
        ema_decay: Decay of the running mean of the weights, which is what sampling uses.
        max_grad_norm: Norm that gradients are clipped to; `math.inf` (in TOML `inf`) for no limit.
        loss_weight: Weight of the loss by noise level: 'none', 'p2' (gamma 0.5, k 1), 'min_snr' (gamma 5), or for
            students of a teacher 'truncated_snr'.
        crop_px: Train on random crops of this side, of the image and all its conditions at the same place.
        drop_embedding: Share of the examples that are trained without their embedding, for guidance.
        precision: 'fp32', 'bf16' (mixed), or 'auto': 'bf16' on a GPU that calculates in it, else 'fp32'. A run that
            goes on keeps what it was started with. On a GPU 'fp32' allows TF32, see `cdm_core.devices.arithmetic`.
        compile: Compile the network with `torch.compile`; 'auto' does so on a GPU where networks can be compiled, for
            runs that are long enough.
        seed: Of the weights, the noise and the data.
        workers: Processes that prepare examples; 0 prepares them between steps. 'auto' is 0 on the CPU; on a GPU it is
            the cores of the machine, shared out among its processes of the run, less one.
        log_every: Steps between lines of `log.jsonl`.
        checkpoint_every: Steps between training states on disk; 'auto' goes by time, see `cdm_core.devices.pacing`.
        sample_every: Steps between sheets of sample pictures, or 'auto'.
        validate_every: Steps between losses on held-out examples, where there are some.
        validation_images: Held-out examples for that.
        trackers: Where else the log goes.

    Raises:
        ConfigError: A value outside its range.
    """

    steps: int
    batch_size: int
    chunk_size: int | Literal["auto"] | None = None
    learning_rate: float = 1e-4
    learning_rate_decay: Literal["cosine", "none"] = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0
    loss_weight: LossWeight = "none"
    crop_px: int | None = None
    drop_embedding: float = 0.1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    seed: int = 0
    workers: int | Literal["auto"] = "auto"
    log_every: int = 10
    checkpoint_every: int | Literal["auto"] = "auto"
    sample_every: int | Literal["auto"] = "auto"
    validate_every: int = 500
    validation_images: int = 64
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "log_every", "checkpoint_every", "sample_every", "validate_every")
        check_counts(self, *counts, "validation_images", "chunk_size", "crop_px")
        for name in ("warmup_steps", "workers", "learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value != "auto" and not 0 <= value < math.inf:
                raise ValueError(f"{name} is at least 0 and finite, got {getattr(self, name)}")
        if not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is over 0, got {self.max_grad_norm}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is at least 0 and less than 2^63, got {self.seed}")
        for name in ("drop_embedding", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {getattr(self, name)}")
