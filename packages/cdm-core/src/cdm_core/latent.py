"""A latent diffusion model, such as Stable Diffusion's, as the network of a stage: from a folder of diffusers."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdm_core.config import Betas, LatentUnetConfig, SamplingConfig, StageConfig
from cdm_core.errors import CheckpointError, ConfigError
from cdm_core.model_source import fetch_diffusers
from cdm_core.network import fill_unet
from cdm_core.objective import Objective
from cdm_core.schedule import ScheduleName
from run_folder import first_line

UNET, AUTOENCODER = "UNet2DConditionModel", "AutoencoderKL"
PARTS = {"unet/config.json": UNET, "vae/config.json": AUTOENCODER, "scheduler/scheduler_config.json": None}
"""What a folder must have, and of which class it must be."""
OBJECTIVES: dict[str, Objective] = {"epsilon": "noise", "v_prediction": "v", "sample": "x0"}
SCHEDULES: dict[str, ScheduleName] = {
    "scaled_linear": "scaled_linear",
    "linear": "linear",
    "squaredcos_cap_v2": "cosine",
}


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
        library = _diffusers()
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


def latent_stage(
    source: str | Path,
    image_px: int,
    *,
    cond_images_channels: int = 0,
    text_embed_dim: int | None = None,
    sampling: SamplingConfig | None = None,
) -> StageConfig:
    """Returns the stage that an autoencoder and a U-Net in diffusers' form make; `latent_network` reads its network.

    Args:
        source: The folder, with `unet`, `vae` and `scheduler`, or the id of a repository on Hugging Face.
        image_px: Side of the stage's images; a multiple of the autoencoder's factor.
        cond_images_channels: Channels of the contexts or masks to condition it on.
        text_embed_dim: Width of an embedding to condition it on.
        sampling: How it is sampled: 32 steps of DPM-Solver++ if not given.

    Raises:
        CheckpointError: The folder is not such a model; the message says what it lacks.
        ConfigError: `cdm-core[latent]` is not installed, or the sizes do not fit.
    """
    folder = fetch_diffusers(source)
    library, settings = _diffusers(), _read_settings(folder)
    scheduler = settings["scheduler/scheduler_config.json"]
    name, objective = scheduler.get("beta_schedule", "linear"), scheduler.get("prediction_type", "epsilon")
    if name not in SCHEDULES or objective not in OBJECTIVES:
        raise CheckpointError(
            f"{folder}: trained with beta_schedule '{name}' and prediction_type '{objective}'; latent stages take "
            f"{', '.join(SCHEDULES)} and {', '.join(OBJECTIVES)}"
        )
    config = LatentUnetConfig(
        unet=_differences(getattr(library, UNET), settings["unet/config.json"]),
        autoencoder=_differences(getattr(library, AUTOENCODER), settings["vae/config.json"]),
        betas=Betas(
            name,
            scheduler.get("beta_start", 1e-4),
            scheduler.get("beta_end", 0.02),
            scheduler.get("num_train_timesteps", 1000),
        ),
        cond_images_channels=cond_images_channels,
        text_embed_dim=text_embed_dim,
    )
    taken = settings["unet/config.json"].get("in_channels", 4)
    if taken != config.latent_channels:
        raise CheckpointError(
            f"{folder}: its U-Net takes {taken} channels, its autoencoder makes {config.latent_channels}; models for "
            "inpainting or depth are not taken"
        )
    try:
        return StageConfig(
            image_px,
            config,
            schedule=SCHEDULES[name],
            objective=OBJECTIVES[objective],
            sampling=sampling or SamplingConfig(32, threshold="none"),
        )
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from None


def latent_network(source: str | Path, stage: StageConfig) -> LatentUnet:
    """Reads the network of a latent stage from a folder in diffusers' form, on the CPU in float32.

    What it did not know, images to condition on or an embedding, it takes no notice of until it is trained with them.
    Of a text that it was conditioned on nothing is kept: it is told none.

    Args:
        source: As of `latent_stage`.
        stage: The stage.

    Returns:
        The network: `train_stage(stage, ..., initial=network)` trains it on, and
        `Cascade(CascadeConfig((stage,)), [network])` samples and saves it.

    Raises:
        CheckpointError: The weights cannot be read, or are of another network.
        ConfigError: `cdm-core[latent]` is not installed, or the stage is not a latent one.
    """
    if not isinstance(stage.unet, LatentUnetConfig):
        raise ConfigError(f"the stage of {stage.image_px} px is not a latent one")
    folder, network = fetch_diffusers(source), LatentUnet(stage.unet)
    tensors = {f"autoencoder.{name}": value for name, value in _weights(folder / "vae", AUTOENCODER).items()}
    tensors |= {f"unet.{name}": value for name, value in _weights(folder / "unet", UNET).items()}
    first = tensors["unet.conv_in.weight"]
    added = network.unet.conv_in.weight.shape[1] - first.shape[1]
    tensors["unet.conv_in.weight"] = torch.cat((first, first.new_zeros(len(first), added, *first.shape[2:])), dim=1)
    fill_unet(network, {**network.state_dict(), **tensors}, str(folder))
    return network


def _diffusers() -> ModuleType:
    try:
        import diffusers
    except ImportError:
        raise ConfigError(
            "latent stages need diffusers, which is not installed; run: pip install 'cdm-core[latent]'"
        ) from None
    return diffusers


def _read_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Reads the settings of the parts of a folder, once they are all there and of the right classes."""
    missing = [name for name in PARTS if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: not a latent diffusion model in diffusers' form: it has no {', no '.join(missing)}"
        )
    settings: dict[str, dict[str, Any]] = {}
    for name, wanted in PARTS.items():
        try:
            settings[name] = json.loads((folder / name).read_text(encoding="utf-8"))
            found = settings[name].get("_class_name")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(f"{folder / name}: cannot be read ({error})") from None
        if wanted is not None and found != wanted:
            raise CheckpointError(f"{folder / name}: a {found}; a latent stage is made of a {wanted}")
    return settings


def _weights(folder: Path, name: str) -> dict[str, Tensor]:
    """Reads the weights of a part, in one file or several, in float32."""
    try:
        network = getattr(_diffusers(), name).from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except Exception as error:  # whatever the library and safetensors raise for files that are missing or damaged
        line = first_line(error)
        raise CheckpointError(f"{folder}: its weights cannot be read ({line})") from None
    weights: dict[str, Tensor] = network.float().state_dict()
    return weights


def _differences(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a class of diffusers that are not at their defaults."""
    defaults = {name: each.default for name, each in inspect.signature(kind).parameters.items()}

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    differing = {
        name: value for name, value in settings.items() if name in defaults and plain(value) != plain(defaults[name])
    }
    if nothing := [name for name, value in differing.items() if value is None]:
        raise ConfigError(f"{kind.__name__} with {nothing[0]} = null cannot be kept in a model.toml")
    differing.pop("in_channels" if kind.__name__ == UNET else "", None)  # follows from the images to condition on
    return differing


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
