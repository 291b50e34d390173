"""A latent diffusion model, such as Stable Diffusion's, as the network of a stage; its parts are of diffusers."""

from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from cdm_core.config_file import STRICT, check_counts, one_line_errors
from cdm_core.errors import ConfigError

UNET, AUTOENCODER = "UNet2DConditionModel", "AutoencoderKL"


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class Betas:
    """The schedule of discrete steps that a network of diffusers was trained for, under that library's names.

    Args:
        name: How beta goes from start to end.
        start: At the first step.
        end: At the last.
        count: Steps.
    """

    name: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
    start: float
    end: float
    count: int = 1000

    def __post_init__(self) -> None:
        check_counts(self, "count")
        if not 0 < self.start < 1 or not 0 < self.end < 1:
            raise ValueError(f"betas lie between 0 and 1, got {self.start} to {self.end}")


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class LatentUnetConfig:
    """A U-Net on the latents of an autoencoder, both of diffusers; see `LatentUnet`.

    Args:
        unet: Arguments of `diffusers.UNet2DConditionModel` that are not at their defaults, without `in_channels`.
        autoencoder: Those of `diffusers.AutoencoderKL`.
        betas: The steps that the U-Net was trained for.
        cond_images_channels: Channels of the images to condition on (contexts, masks).
        text_embed_dim: Width of an embedding to condition on; None for none.
    """

    unet: dict[str, Any]
    autoencoder: dict[str, Any]
    betas: Betas
    cond_images_channels: int = 0
    text_embed_dim: int | None = None

    in_latents: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("unet", "autoencoder"):  # as they come back from a file, so that both have the same fingerprint
            object.__setattr__(self, name, _without_tuples(getattr(self, name)))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.autoencoder.get("latent_channels", 4))

    @property
    def factor(self) -> int:
        """How many pixels a latent stands for, along a side."""
        return int(2 ** (len(self.autoencoder.get("block_out_channels", (64,))) - 1))

    @property
    def shrinks_by(self) -> int:
        """Pixels of an image along a side for each value that is sampled."""
        return self.factor

    def check_stage(self, image_px: int, lowres_px: int | None, threshold: str) -> None:
        """Checks that a stage of such images can have this network.

        Raises:
            ValueError: It cannot; the message advises what to change.
        """
        if image_px % self.factor:
            raise ValueError(f"image_px {image_px} is no multiple of the autoencoder's factor {self.factor}")
        if lowres_px is not None:
            raise ValueError("a latent stage enlarges no image: give it the image around by cond_images instead")
        if threshold != "none":
            raise ValueError("latents have no range: a latent stage has sampling.threshold = 'none'")

    def sample_shape(self, image_px: int) -> tuple[int, int, int]:
        """Returns the shape of what is sampled for an image: its latents'."""
        return self.latent_channels, image_px // self.factor, image_px // self.factor

    def added_inputs(self, channels: int) -> tuple[str, int, int]:
        """Returns where so many channels of images to condition on are added, after those that there are.

        Returns:
            As of `UnetConfig.added_inputs`. The first convolution takes the latents, then a block of the images.
        """
        block = self.factor**2
        return "unet.conv_in.", self.latent_channels + self.cond_images_channels * block, channels * block

    def build(self, *, enlarges: bool, extra_images: int = 0) -> nn.Module:
        """Makes the network, with fresh weights.

        Args:
            enlarges: Whether it takes a low-resolution image, which no latent one does.
            extra_images: One-channel images that it takes besides those of `cond_images_channels`.

        Raises:
            ConfigError: diffusers is not installed.
        """
        return LatentUnet(self, extra_images)

    def encode(self, unet: nn.Module, images: Tensor) -> Tensor:
        """Returns the latents of images in [-1, 1], (B, 3, S, S)."""
        network: Any = getattr(unet, "module", unet)  # processes that train together wrap it
        latents: Tensor = network.encode(images)
        return latents

    def decode(self, unet: nn.Module, x: Tensor) -> Tensor:
        """Returns the images around [-1, 1], (B, 3, S, S), of latents."""
        network: Any = unet
        images: Tensor = network.decode(x)
        return images

    def freeze_unused(self, unet: nn.Module) -> None:
        """Freezes the autoencoder."""
        unet.get_submodule("autoencoder").requires_grad_(False).eval()


class LatentUnet(nn.Module):
    """A U-Net that denoises the latents of an autoencoder; it is called as the other networks of stages are.

    Images to condition on come at the size of the pictures. Each block of their pixels that makes one latent becomes
    channels beside it, so nothing of them is lost. The network gets the time as the step of its own schedule that has
    the same signal-to-noise ratio, so any schedule of this package can be sampled.

    Args:
        config: Its configuration.
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
        """Predicts from x_t, (B, L, S / f, S / f), and its log-SNR, (B,), what the stage's objective names.

        Args:
            x_t: Noisy latents.
            log_snr: How noisy they are.
            cond_images: Contexts or masks, (B, C, S, S).
            text_embeds: An embedding of each image, (B, 1, D).
            text_mask: Which of them count; all do.
            cond_drop_prob: 1 for images without an embedding, 0 for the others, (B,).
        """
        if cond_images is not None:
            if cond_images.shape[2:] == x_t.shape[2:]:  # the guidance alone, which comes at the size of x_t
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


def _without_tuples(value: Any) -> Any:
    """The value with lists in the place of tuples, which TOML does not have."""
    if isinstance(value, dict):
        return {name: _without_tuples(item) for name, item in value.items()}
    return [_without_tuples(item) for item in value] if isinstance(value, (list, tuple)) else value


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
        beta = np.linspace(betas.start, betas.end, betas.count)
    elif betas.name == "scaled_linear":
        beta = np.linspace(betas.start**0.5, betas.end**0.5, betas.count) ** 2
    else:
        signal = np.cos((np.linspace(0, 1, betas.count + 1) + 0.008) / 1.008 * np.pi / 2) ** 2
        beta = np.minimum(1 - signal[1:] / signal[:-1], 0.999)
    kept = np.log1p(-beta).cumsum()
    return torch.from_numpy(kept - np.log(-np.expm1(kept))).float()
