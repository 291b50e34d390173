"""The low-resolution input of a super-resolution stage: made from the image, enlarged, and noised on purpose."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_core.config import StageConfig
from cdm_core.diffusion.schedule import Schedule

BLUR_SIGMA_PX = (0.4, 0.6)


def enlarge(config: StageConfig, lowres: Tensor) -> Tensor:
    """Brings low-resolution images, (B, 3, s, s), to the stage's size, (B, 3, S, S)."""
    if config.lowres_resize == "nearest":
        return F.interpolate(lowres, config.image_px, mode="nearest")
    return F.interpolate(lowres, config.image_px, mode="bilinear", align_corners=False)


def noised_lowres(config: StageConfig, lowres: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Enlarges a low-resolution image to the stage's size and noises it: conditioning augmentation.

    Args:
        config: The stage.
        lowres: Image in [-1, 1], (B, 3, s, s).
        t: Time up to which it is noised, (B,).
        noise: Standard normal, (B, 3, n, n) with n as of `noise_px`.

    Returns:
        The image, (B, 3, S, S) with S the stage's image side, and its log-SNR, (B,).

    Source: Ho et al. 2021, 'Cascaded diffusion models', section 4, which noises before it enlarges; imagen-pytorch
        noises what is enlarged, so that every pixel has noise of its own.
    """
    schedule = Schedule(config.lowres_schedule)
    log_snr = schedule.log_snr(t)
    if config.noise_before_resize:
        return enlarge(config, schedule.add_noise(lowres, t, noise)), log_snr
    return schedule.add_noise(enlarge(config, lowres), t, noise), log_snr


def noise_px(config: StageConfig) -> int:
    """Returns the side of the noise that `noised_lowres` wants: the low-resolution image's or the stage's."""
    return config.lowres_px if config.noise_before_resize and config.lowres_px else config.image_px


def blurred(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Blurs images, (B, C, H, W), with Gaussians of 3 x 3 px and the standard deviations given, (B,); 0 leaves one.

    Source: Ho et al. 2021, section 4.
    """
    offsets = torch.arange(-1.0, 2.0, device=images.device)[:, None]  # made there: a copy would be waited for
    weights = torch.exp(-(offsets**2) / (2 * sigma_px.clamp(min=1e-3) ** 2))
    weights = (weights / weights.sum(dim=0))[..., None, None, None]
    padded, (height, width) = F.pad(images, (1, 1, 1, 1), mode="replicate"), images.shape[2:]
    rows = (weights * torch.stack([padded[:, :, i : i + height] for i in range(3)])).sum(dim=0)
    return (weights * torch.stack([rows[..., i : i + width] for i in range(3)])).sum(dim=0)
