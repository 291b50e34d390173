"""The folder of a training run and its networks, one for each stage, named by the side of its images."""

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from cdm_core import CascadeConfig, ConfigError
from cdm_core.training.cascade_training import NetworkTraining, Phase
from run_folder import whole_file

Phases = Mapping[str, Phase]
"""The phases of a network's training by their names, in order."""


def network_trainings(
    cascade: CascadeConfig, phases: Sequence[Phases], initial: Sequence[nn.Module] | None = None
) -> list[NetworkTraining]:
    """Returns the trainings of a cascade's networks, checked before anything is written.

    Args:
        cascade: The stages.
        phases: Phases of each stage; without any, the network of `initial` does not change.
        initial: Initial networks; None: fresh weights.

    Raises:
        ConfigError: The training of a network is not valid, see `NetworkTraining.check`.
    """
    networks = []
    for i, (stage, of_stage) in enumerate(zip(cascade.stages, phases, strict=True)):
        unet = None if initial is None else initial[i]
        networks.append(NetworkTraining(str(stage.image_px), stage, of_stage, partial(_given, unet)))
        networks[-1].check()
    return networks


def _given(unet: nn.Module | None) -> nn.Module | None:
    return unet


def is_main_process() -> bool:
    """Whether this process writes files: one of those that `accelerate launch` starts."""
    return os.environ.get("RANK", "0") == "0"


def open_run(plan_text: str, out_dir: Path, *, resume: bool) -> None:
    """Writes the plan to the folder of a run as `plan.toml`, or checks that it is the plan of an existing run.

    Raises:
        ConfigError: The folder holds a run and `resume` is false, or a run of another plan.
    """
    if not is_main_process():
        return
    saved = out_dir / "plan.toml"
    if (saved.exists() or (out_dir / "model").exists()) and not resume:
        raise ConfigError(f"{out_dir} holds a run; resume it, or use another folder")
    if saved.exists() and saved.read_text(encoding="utf-8") != plan_text:
        raise ConfigError(f"{out_dir} was started with another plan, which is {saved}; resume it with that one")
    with whole_file(saved) as partial:
        partial.write_text(plan_text, encoding="utf-8")


def trained_by() -> dict[str, str]:
    """Returns the first entry of a model's provenance: this package and its version."""
    return {"trained_by": f"maskcond {importlib.metadata.version('maskcond')}"}
