"""Training plans: read from a file, or by name."""

from pathlib import Path
from typing import Any

from cdm_core import ConfigError
from cdm_core.config_file import dump_config, parse_config, read_toml
from cdm_core.interop.diffusers import latent_stage
from urcdm.config import TrainingPlan
from urcdm.presets import PLANS


def read_plan(path: Path) -> TrainingPlan:
    """Reads a plan from a TOML file, or returns a plan of the study by its name; a file of that name has precedence.

    Raises:
        ConfigError: The plan is missing, is not TOML, or has an unknown key or a wrong value.
    """
    if str(path) in PLANS and not path.is_file():
        return PLANS[str(path)]
    values = read_toml(path, missing="no such plan; 'urcdm-app plan' prints the built-in one to start from")
    networks = values.get("networks")
    for network in networks if isinstance(networks, list) else []:
        if isinstance(network, dict) and "diffusers" in network:
            _fill_latent_stage(network, str(path))
    return parse_config(TrainingPlan, values, str(path))


def _fill_latent_stage(network: dict[str, Any], path: str) -> None:
    """Completes the table of a network that starts from a diffusers model with the settings of that model.

    The plan states only the size, the conditions, the sampling and the training, or everything, as the plan in a run's
    folder does.
    """
    stage = network.get("stage", {})
    unet = stage.get("unet", {})
    if "autoencoder" in unet:
        return
    unknown = [
        *(stage.keys() - {"image_px", "unet", "sampling"}),
        *(unet.keys() - {"cond_images_channels", "text_embed_dim"}),
    ]
    if unknown or "image_px" not in stage:
        fault = f"'{unknown[0]}' follows from the model" if unknown else "image_px is missing"
        raise ConfigError(f"{path}: the network that starts from {network['diffusers']}: {fault}")
    full = dump_config(latent_stage(network["diffusers"], stage["image_px"], **unet))
    network["stage"] = {**full, "sampling": {**full["sampling"], **stage.get("sampling", {})}}
