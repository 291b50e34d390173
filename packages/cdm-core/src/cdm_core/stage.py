"""One stage at work: its low-resolution input, and a batch of images from its noise."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_core.config import StageConfig
from cdm_core.denoiser import Conditions, Denoiser, noised_lowres
from cdm_core.sampler import draw_noise, sample


def stage_image(config: StageConfig, batch: dict[str, Tensor]) -> Tensor:
    """Returns the image of a batch at the stage's size, (B, 3, S, S) in [0, 1]; a larger one is averaged down.

    Raises:
        ValueError: The image is smaller than the stage's, or no square.
    """
    image = batch["image"]
    side = config.image_px
    if image.shape[2] != image.shape[3] or image.shape[3] < side:
        raise ValueError(f"wanted square images of {side} px or more, got {image.shape[3]} x {image.shape[2]}")
    return image if image.shape[3] == side else F.interpolate(image, side, mode="area")


def small_image(config: StageConfig, batch: dict[str, Tensor]) -> Tensor | None:
    """Returns the low-resolution image of a batch, (B, 3, s, s) in [0, 1], or None for a base model."""
    if config.lowres_px is None:
        return None
    if "lowres" in batch:
        return batch["lowres"]
    return F.interpolate(batch["image"], config.lowres_px, mode="area")


def sample_stage(
    unet: nn.Module,
    config: StageConfig,
    *,
    generators: Sequence[torch.Generator],
    lowres: Tensor | None = None,
    cond_images: Tensor | None = None,
    known: Tensor | None = None,
    known_mask: Tensor | None = None,
    steps: int | None = None,
    resample: int = 1,
) -> Tensor:
    """Samples one stage for a batch; images are in [0, 1] throughout.

    Args:
        unet: The stage's network.
        config: The stage.
        generators: One for each image; all its noise is drawn from it.
        lowres: Images of the stage before, (B, 3, s, s); for a stage that enlarges.
        cond_images: Contexts or masks, (B, C, S, S).
        known: Pixels to hold, (B, 3, S, S).
        known_mask: 1 where they are known, (B, 1, S, S).
        steps: Number of steps; the stage's own if not given.
        resample: See `sample`.

    Returns:
        Images, (B, 3, S, S).

    Raises:
        ValueError: The stage enlarges an image or is conditioned on images and none are given, or the reverse.
    """
    if (lowres is None) != (config.lowres_px is None):
        wanted = "takes no" if config.lowres_px is None else "enlarges a"
        raise ValueError(f"the stage of {config.image_px} px {wanted} low-resolution image")
    if (cond_images is None) != (config.unet.cond_images_channels == 0):
        channels = config.unet.cond_images_channels or "no"
        raise ValueError(f"the stage of {config.image_px} px takes {channels} channels of cond_images")
    device = next(unet.parameters()).device
    shape = (3, config.image_px, config.image_px)
    conditions = Conditions(cond_images)
    if lowres is not None:
        t = torch.full((len(lowres),), config.sampling.lowres_noise, device=device)
        lowres_noise = draw_noise(shape, generators, device)
        conditions = Conditions(cond_images, *noised_lowres(config, lowres * 2 - 1, t, lowres_noise))
    denoiser = Denoiser(unet, config, conditions)
    x = sample(
        denoiser,
        draw_noise(shape, generators, device),
        schedule=denoiser.schedule,
        steps=config.sampling.steps if steps is None else steps,
        method=config.sampling.method,
        generators=generators,
        known=None if known is None else known * 2 - 1,
        known_mask=known_mask,
        resample=resample,
    )
    return (x.clamp(-1, 1) + 1) / 2
