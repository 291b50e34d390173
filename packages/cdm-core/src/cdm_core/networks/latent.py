"""A latent diffusion model, such as Stable Diffusion's, as the network of a stage; its parts are of diffusers."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdm_core.config import Betas, LatentUnetConfig
from cdm_core.errors import ConfigError

UNET, AUTOENCODER = "UNet2DConditionModel", "AutoencoderKL"


class LatentUnet(nn.Module):
    """A U-Net that denoises the latents of an autoencoder; it is called as the other networks of stages are.

    Images to condition on come at the size of the pictures. Each block of their pixels that makes one latent becomes
    channels beside it, so nothing of them is lost. The time is told as the step of the network's own schedule that has
    the same signal-to-noise ratio, so any schedule of this package can be sampled.

    Args:
        config: What it is.
        extra_images: One-channel images that it takes besides those of `config.cond_images_channels`.
    """

    log_snrs: Tensor

    def __init__(self, config: LatentUnetConfig, extra_images: int = 0) -> None:
        super().__init__()
        library = import_diffusers()
        self.config = config
        channels = config.latent_channels + (config.cond_images_channels + extra_images) * config.factor**2
        self.unet: Any = getattr(library, UNET).from_config({**config.unet, "in_channels": channels})
        self.autoencoder: Any = getattr(library, AUTOENCODER).from_config(dict(config.autoencoder))
        width = self.unet.config.cross_attention_dim
        self.no_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.embed = None if config.text_embed_dim is None else nn.Linear(config.text_embed_dim, width)
        self.register_buffer("log_snrs", _log_snrs(config.betas), persistent=False)

    def forward(
        self,
        x_t: Tensor,
        log_snr: Tensor,
        *,
        cond_images: Tensor | None = None,
        text_embeds: Tensor | None = None,
        text_mask: Tensor | None = None,
        cond_drop_prob: Tensor | None = None,
    ) -> Tensor:
        """Predicts from x_t, (B, L, S / f, S / f), and its log-SNR, (B,), what the stage's objective says.

        Args:
            x_t: Noisy latents.
            log_snr: How noisy they are.
            cond_images: Contexts or masks, (B, C, S, S).
            text_embeds: An embedding of each image, (B, 1, D).
            text_mask: Which of them count; all do.
            cond_drop_prob: 1 for images without an embedding, 0 for the others, (B,).
        """
        if cond_images is not None:
            if cond_images.shape[2:] == x_t.shape[2:]:  # the guidance alone, which is told at the size of x_t
                cond_images = nn.functional.interpolate(cond_images, scale_factor=self.config.factor)
            beside = nn.functional.pixel_unshuffle(cond_images, self.config.factor)
            x_t = torch.cat((x_t, beside.to(x_t.dtype)), dim=1)
        tokens = self.no_embedding.expand(len(x_t), -1, -1)
        if self.embed is not None and text_embeds is not None:
            absent = torch.zeros_like(log_snr) if cond_drop_prob is None else cond_drop_prob
            tokens = torch.where(absent.reshape(-1, 1, 1) > 0.5, tokens, self.embed(text_embeds).to(tokens.dtype))
        prediction: Tensor = self.unet(x_t, self._step(log_snr), encoder_hidden_states=tokens, return_dict=False)[0]
        return prediction

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Returns the latents, (B, L, S / f, S / f), of images in [-1, 1], (B, 3, S, S): the means, without noise."""
        settings = self.autoencoder.config
        with self._precision(images):
            latents: Tensor = self.autoencoder.encode(images).latent_dist.mode().float()
        scaled: Tensor = (latents - (settings.shift_factor or 0.0)) * settings.scaling_factor
        return scaled

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Returns the images, around [-1, 1], (B, 3, S, S), of latents, (B, L, S / f, S / f)."""
        settings = self.autoencoder.config
        with self._precision(latents):
            images: Tensor = self.autoencoder.decode(
                latents / settings.scaling_factor + (settings.shift_factor or 0.0), return_dict=False
            )[0]
        return images.float()

    def _precision(self, images: Tensor) -> torch.autocast:
        dtype = self.autoencoder.encoder.conv_in.weight.dtype
        return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)

    def _step(self, log_snr: Tensor) -> Tensor:
        """The network's own step of a log-SNR, with fractions between two, (B,)."""
        table = self.log_snrs.to(log_snr)  # falling
        upper = torch.searchsorted(-table, -log_snr.contiguous()).clamp(1, len(table) - 1)
        above, below = table[upper - 1], table[upper]
        share = ((above - log_snr) / (above - below)).clamp(0, 1)
        return upper - 1 + share


def import_diffusers() -> ModuleType:
    """Imports diffusers, which takes seconds.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import diffusers
    except ImportError:
        raise ConfigError(
            "latent stages need diffusers, which is not installed; run: pip install 'cdm-core[latent]'"
        ) from None
    return diffusers


def _log_snrs(betas: Betas) -> Tensor:
    """The log-SNR of each step of the schedule that a network was trained for, falling, (N,)."""
    if betas.name == "linear":
        each = np.linspace(betas.start, betas.end, betas.count)
    elif betas.name == "scaled_linear":
        each = np.linspace(betas.start**0.5, betas.end**0.5, betas.count) ** 2
    else:
        signal = np.cos((np.linspace(0, 1, betas.count + 1) + 0.008) / 1.008 * np.pi / 2) ** 2
        each = np.minimum(1 - signal[1:] / signal[:-1], 0.999)
    kept = np.log1p(-each).cumsum()
    return torch.from_numpy(kept - np.log(-np.expm1(kept))).float()
