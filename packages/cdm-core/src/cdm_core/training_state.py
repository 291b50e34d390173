"""The state of a training run on disk, from which it goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.config_file import dump_config
from cdm_core.errors import CheckpointError
from cdm_core.network import build_unet

FREE_TO_CHANGE = {"workers", "log_every", "checkpoint_every", "sample_every"}
"""Settings that do not touch the trajectory, and may differ in the run that goes on."""

CONTENTS = {"step", "skipped", "stage", "training", "unet", "ema", "optimiser"}


@dataclass
class TrainingState:
    """What a step changes: the network, the running mean of its weights, the optimiser, the steps done and skipped."""

    unet: nn.Module
    ema: AveragedModel
    optimiser: torch.optim.Optimizer
    step: int = 0
    skipped: int = 0


def save_state(path: Path, state: TrainingState, config: StageConfig, training: TrainingConfig) -> None:
    """Writes the state, under a temporary name until it is whole.

    Raises:
        CheckpointError: It cannot be written, for instance because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    values = {
        "step": state.step,
        "skipped": state.skipped,
        "stage": dump_config(config),
        "training": dump_config(training),
        "unet": state.unet.state_dict(),
        "ema": state.ema.state_dict(),
        "optimiser": state.optimiser.state_dict(),
    }
    try:
        torch.save(values, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the training state cannot be written ({error}); is the disk full?") from None


def load_state(path: Path, state: TrainingState, config: StageConfig, training: TrainingConfig) -> None:
    """Fills the state from disk, after checking that it is of the same stage and settings.

    Raises:
        CheckpointError: It cannot be read, or a setting differs; the message names it.
    """
    values = _read(path)
    _refuse_difference(path, "stage", values["stage"], dump_config(config))
    _refuse_difference(path, "training", values["training"], dump_config(training))
    state.unet.load_state_dict(values["unet"])
    state.ema.load_state_dict(values["ema"])
    state.optimiser.load_state_dict(values["optimiser"])
    state.step, state.skipped = values["step"], values["skipped"]


def load_trained(path: Path, config: StageConfig) -> tuple[nn.Module, int]:
    """Reads the network with the running mean of its weights, and how many steps it was trained for.

    Raises:
        CheckpointError: The state cannot be read or is of another stage.
    """
    values = _read(path)
    _refuse_difference(path, "stage", values["stage"], dump_config(config))
    averaged = AveragedModel(build_unet(config))
    averaged.load_state_dict(values["ema"])
    return averaged.module, int(values["step"])


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no training state here; train first") from None
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: the training state is damaged ({reason}); delete it to start again") from None
    if not isinstance(values, dict) or not values.keys() >= CONTENTS:
        raise CheckpointError(f"{path}: not a training state; delete it to start again")
    return values


def _refuse_difference(path: Path, part: str, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        if name not in FREE_TO_CHANGE and saved.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path}: the run was started with {part}.{name} = {saved.get(name)}, not {wanted.get(name)}; "
                "use the same setting, or another output folder"
            )
