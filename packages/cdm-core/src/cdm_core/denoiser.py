"""The seam that everything that samples sees: x_t, t and conditions in, x0 out."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_core.config import StageConfig
from cdm_core.objective import predicted_x0
from cdm_core.schedule import Schedule


@dataclass(frozen=True)
class Conditions:
    """What a stage is conditioned on.

    Args:
        cond_images: Contexts or masks in [0, 1], (B, C, S, S) at the stage's resolution.
        lowres: The noised, enlarged low-resolution image, around [-1, 1], (B, 3, S, S).
        lowres_log_snr: How noisy it is, (B,).
    """

    cond_images: Tensor | None = None
    lowres: Tensor | None = None
    lowres_log_snr: Tensor | None = None

    def of_network(self) -> dict[str, Tensor | None]:
        """Returns the conditions under the names of `imagen_pytorch.Unet.forward`."""
        return {
            "cond_images": self.cond_images,
            "lowres_cond_img": self.lowres,
            "lowres_noise_times": self.lowres_log_snr,
        }


def noised_lowres(config: StageConfig, lowres: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Enlarges a low-resolution image to the stage's size and noises it: conditioning augmentation.

    Args:
        config: The stage.
        lowres: Image in [-1, 1], (B, 3, s, s).
        t: Time up to which it is noised, (B,).
        noise: Standard normal, (B, 3, S, S) with S the stage's image side.

    Returns:
        The image, (B, 3, S, S), and its log-SNR, (B,).

    Source: Ho et al. 2021, 'Cascaded diffusion models', section 4.
    """
    schedule = Schedule(config.lowres_schedule)
    enlarged = F.interpolate(lowres, config.image_px, mode="bilinear", align_corners=False)
    return schedule.add_noise(enlarged, t, noise), schedule.log_snr(t)


@dataclass(frozen=True)
class Denoiser:
    """A network with its schedule and objective, bound to its conditions.

    Args:
        unet: Network as of `build_unet`.
        config: Its stage.
        conditions: What it is conditioned on.
    """

    unet: nn.Module
    config: StageConfig
    conditions: Conditions = Conditions()

    @property
    def schedule(self) -> Schedule:
        """The forward process that the network was trained for."""
        return Schedule(self.config.schedule)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predicts x0 in [-1, 1], (B, 3, S, S), from x_t, (B, 3, S, S), and t, (B,)."""
        prediction = self.unet(x_t, self.schedule.log_snr(t), **self.conditions.of_network())
        x0 = predicted_x0(self.config.objective, self.schedule, prediction, x_t, t)
        return torch.clamp(x0, -1.0, 1.0)
