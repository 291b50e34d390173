"""Training plans: read from a file, or by name."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from cdm_core import ConfigError
from cdm_core.config_file import dump_config, parse_config
from cdm_core.interop.diffusers import latent_stage
from urcdm import TrainingPlan
from urcdm.presets import PLANS
from urcdm_app import builtin
from urcdm_app.errors import UsageError


def read_plan(path: Path) -> TrainingPlan:
    """Reads a plan from a TOML file, or takes one of the study's by its name, which a file of that name comes before.

    Raises:
        ConfigError: It is not there, not TOML, or has an unknown key or a wrong value.
    """
    if str(path) in PLANS and not path.is_file():
        return PLANS[str(path)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such plan; 'urcdm-app plan' prints the built-in one to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error})") from None
    networks = values.get("networks")
    for network in networks if isinstance(networks, list) else []:
        if isinstance(network, dict) and "diffusers" in network:
            _fill_latent_stage(network, str(path))
    return parse_config(TrainingPlan, values, str(path))


def _fill_latent_stage(network: dict[str, Any], path: str) -> None:
    """Puts what a model in diffusers' form says of itself into the table of a network that starts from it.

    The plan says no more than the size, what it is conditioned on, and how it is sampled and trained; or it says all,
    as one that a run has written does.
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


def plan_text(name: str) -> str:
    """Returns the text of a plan by name.

    Raises:
        UsageError: There is none.
    """
    if name == "small":
        return builtin.PLAN.read_text(encoding="utf-8")
    if name not in PLANS:
        raise UsageError(f"no plan '{name}'; there are small, {', '.join(PLANS)}")
    return tomli_w.dumps(dump_config(PLANS[name]))
