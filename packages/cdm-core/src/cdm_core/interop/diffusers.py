"""A latent diffusion model, such as Stable Diffusion's, as a stage: read from a folder of diffusers."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdm_core.config import Betas, LatentUnetConfig, SamplingConfig, StageConfig
from cdm_core.diffusion.objective import Objective
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.errors import CheckpointError, ConfigError
from cdm_core.interop.model_source import fetch_diffusers
from cdm_core.networks.latent import AUTOENCODER, UNET, LatentUnet, import_diffusers
from cdm_core.networks.weights import fill_unet
from run_folder import first_line

PARTS = {"unet/config.json": UNET, "vae/config.json": AUTOENCODER, "scheduler/scheduler_config.json": None}
"""The files of a model folder, and the class that each must be of."""
OBJECTIVES: dict[str, Objective] = {"epsilon": "noise", "v_prediction": "v", "sample": "x0"}
SCHEDULES: dict[str, ScheduleName] = {
    "scaled_linear": "scaled_linear",
    "linear": "linear",
    "squaredcos_cap_v2": "cosine",
}


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
        CheckpointError: The folder is not such a model; the message names what is missing.
        ConfigError: `cdm-core[latent]` is not installed, or the sizes do not fit.
    """
    folder = fetch_diffusers(source)
    library, settings = import_diffusers(), _read_settings(folder)
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

    It ignores images to condition on and an embedding until it is trained with them. Conditioning on text is dropped:
    the network gets its null embedding.

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
            kind = settings[name].get("_class_name")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(f"{folder / name}: cannot be read ({error})") from None
        if wanted is not None and kind != wanted:
            raise CheckpointError(f"{folder / name}: a {kind}; a latent stage is made of a {wanted}")
    return settings


def _weights(folder: Path, name: str) -> dict[str, Tensor]:
    """Reads the weights of a part, in one file or several, in float32."""
    try:
        network = getattr(import_diffusers(), name).from_pretrained(folder, use_safetensors=True, local_files_only=True)
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
