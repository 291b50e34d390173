"""The state of a training run, which each step changes, and its file."""

import contextlib
import copy
import pickle
import signal
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.config_file import parse_config
from cdm_core.distillation.finishing import Finisher, FinishingConfig
from cdm_core.errors import CheckpointError, ConfigError
from cdm_core.stages.build import build_unet
from cdm_core.stages.inference import Precision, precision_named
from cdm_core.training.tally import Tally
from run_folder import first_line, whole_file

T = TypeVar("T", StageConfig, TrainingConfig, FinishingConfig)

FREE_TO_CHANGE = {
    "chunk_size",
    "workers",
    "compile",
    "trackers",
    "log_every",
    "checkpoint_every",
    "sample_every",
    "validate_every",
    "validation_images",
}
"""Settings that do not touch the trajectory, and may differ in the run that goes on."""

OLDER = {"precision": "fp32"}
"""Settings that older states do not name."""

CONTENTS = {"step", "skipped", "stage", "training", "unet", "ema", "optimiser"}


STATE_FILE, LOG_FILE = "state.pt", "log.jsonl"


def check_no_run(folder: Path) -> None:
    """Checks that a folder holds no training run, which a new one would replace.

    Raises:
        CheckpointError: It does.
    """
    state, log = folder / STATE_FILE, folder / LOG_FILE
    if state.exists() or (log.is_file() and log.stat().st_size):
        name = STATE_FILE if state.exists() else LOG_FILE
        raise CheckpointError(
            f"{folder}: holds a training run ({name}); pass resume=True to go on with it, or use another folder"
        )


@dataclass
class TrainingState:
    """Everything that a step changes.

    Args:
        unet: The network, not wrapped.
        ema: The running mean of its weights.
        optimiser: Fused AdamW, which can skip a step by a flag on the device.
        tally: Counts and means.
        step: Steps done or skipped.
        restored: How often the weights went back to those on disk.
        is_whole: No step is half done.
        finisher: Of a student that is finished: its discriminator takes a step with the network.
    """

    unet: nn.Module
    ema: AveragedModel
    optimiser: torch.optim.AdamW
    tally: Tally
    step: int = 0
    restored: int = 0
    is_whole: bool = True
    finisher: Finisher | None = None

    def __post_init__(self) -> None:
        # listed once: to look for them in thousands of modules would take longer than to change them
        self.weights: list[Tensor] = [*self.unet.parameters()]
        self.averages: list[Tensor] = [*self.ema.module.parameters()]

    @contextlib.contextmanager
    def whole_step(self) -> Iterator[None]:
        """Makes the block whole: Ctrl-C is held back to its end, and after an error in it nothing is saved."""
        with _uninterrupted():
            self.is_whole = False
            yield
            self.is_whole = True

    def is_finite(self) -> bool:
        """Waits for the device, and returns whether all weights and their running means are finite."""
        norms = torch._foreach_norm([*self.weights, *self.averages])
        return bool(torch.isfinite(torch.stack(norms)).all())


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back to the end of the block."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])


def save_state(path: Path, state: TrainingState, config: StageConfig, training: TrainingConfig) -> None:
    """Writes the state; the file appears when it is whole.

    Raises:
        CheckpointError: It cannot be written, for instance because the disk is full.
    """
    values = {
        "step": state.step,
        "skipped": state.tally.read().skipped,
        "restored": state.restored,
        "tally": state.tally.state_dict(),
        "stage": _dump(config),
        "training": _dump(training),
        "unet": state.unet.state_dict(),
        "ema": state.ema.state_dict(),
        "optimiser": state.optimiser.state_dict(),
    }
    if state.finisher is not None:
        values["finishing"] = _dump(state.finisher.config)
        values["adversary"] = state.finisher.adversary.state_dict()
    try:
        with whole_file(path) as temporary:
            torch.save(values, temporary)
    except (OSError, RuntimeError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{path}: the training state cannot be written ({reason}); is the disk full?") from None


def load_state(path: Path, state: TrainingState, config: StageConfig, training: TrainingConfig) -> None:
    """Fills the state from disk, after checking that it is of the same stage and settings.

    Raises:
        CheckpointError: It cannot be read, or a setting differs; the message names it.
    """
    values = _read(path)
    _refuse_difference(path, "stage", values["stage"], config)
    _refuse_difference(path, "training", values["training"], training)
    if (state.finisher is None) != ("finishing" not in values):
        kind = "to finish a student" if state.finisher is None else "without finishing"
        raise CheckpointError(f"{path}: the run was started {kind}; use the same, or another output folder")
    if state.finisher is not None:
        _refuse_difference(path, "finishing", values["finishing"], state.finisher.config)
    with _foreign_as_checkpoint_error(path):
        _fill_weights(values, state)
        state.step, state.restored = int(values["step"]), int(values.get("restored", 0))
        if "tally" in values:
            state.tally.load_state_dict(values["tally"])
        else:
            state.tally.counts[1] = values["skipped"]


def restore_weights(path: Path, state: TrainingState) -> int:
    """Takes weights, running mean and optimiser from disk, and no counts but those of skipped steps in a row.

    Returns:
        The step that they are of.

    Raises:
        CheckpointError: The state cannot be read.
    """
    values = _read(path)
    with _uninterrupted():
        _fill_weights(values, state)
        state.tally.end_row()
        state.restored += 1
    return int(values["step"])


def load_trained(path: Path, config: StageConfig) -> tuple[nn.Module, int]:
    """Reads the network with the running mean of its weights, and how many steps it was trained for.

    Raises:
        CheckpointError: The state cannot be read or is of another stage.
    """
    values = _read(path)
    _refuse_difference(path, "stage", values["stage"], config)
    unet = build_unet(config)
    with _foreign_as_checkpoint_error(path):
        # as `AveragedModel` names them, which would be a second network in memory
        unet.load_state_dict({n.removeprefix("module."): v for n, v in values["ema"].items() if n != "n_averaged"})
        return unet, int(values["step"])


def saved_precision(path: Path) -> Precision:
    """Returns the precision in which the run of a state is trained.

    Raises:
        CheckpointError: The state cannot be read.
    """
    training = OLDER | _read(path)["training"]
    with _foreign_as_checkpoint_error(path):
        return precision_named(training["precision"])


@contextlib.contextmanager
def _foreign_as_checkpoint_error(path: Path) -> Iterator[None]:
    """Turns what torch raises for tensors that do not fit into a `CheckpointError` of one line."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: the state does not fit the network ({first_line(error)}); it is damaged or of another version: "
            "use another output folder"
        ) from None


def _fill_weights(values: dict[str, Any], state: TrainingState) -> None:
    state.unet.load_state_dict(values["unet"])
    state.ema.load_state_dict(values["ema"])
    # settings of the optimiser are this run's: a state of an older version was not of a fused one
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": values["optimiser"]["state"], "param_groups": groups})
    for parameter, moments in state.optimiser.state.items():
        for name, moment in moments.items():
            # fused kernels take the values as they lie in memory, so they must lie as the weights do
            lies_alike = moment.shape == parameter.shape
            moments[name] = torch.empty_like(parameter).copy_(moment) if lies_alike else moment.clone()
    if state.finisher is not None:
        state.finisher.adversary.load_state_dict(copy.deepcopy(values["adversary"]))  # out of the file


def _read(path: Path) -> dict[str, Any]:
    """Reads a state, whose tensors stay in the file until they are copied.

    So processes of one machine share what they read, and none holds a second copy of its networks.
    """
    try:
        mapped = zipfile.is_zipfile(path)  # else torch tells of mapping, and not of the damage
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no training state here; train first") from None
    except (IsADirectoryError, PermissionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        # torch advises to unpickle what it refuses, which could run code
        reason = "it holds no tensors" if isinstance(error, pickle.UnpicklingError) else first_line(error)
        raise CheckpointError(f"{path}: the training state is damaged ({reason}); delete it to start again") from None
    tables = ("stage", "training", "unet", "ema", "optimiser")
    whole = isinstance(values, dict) and values.keys() >= CONTENTS
    if not whole or not all(isinstance(values[name], Mapping) for name in tables):
        raise CheckpointError(f"{path}: not a training state; delete it to start again")
    return values


def _dump(config: object) -> dict[str, Any]:
    """Returns all fields as plain values, those that are None too, which a default may not be."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def _refuse_difference(path: Path, part: str, saved: dict[str, Any], wanted: T) -> None:
    try:
        # what an older version did not write is at its default
        complete = _dump(parse_config(type(wanted), OLDER | saved if part == "training" else saved, part))
    except ConfigError as error:
        raise CheckpointError(f"{path}: the state is of another version ({error}); use another output folder") from None
    difference = _first_difference(part, complete, _dump(wanted))
    if difference is not None:
        raise CheckpointError(
            f"{path}: the run was started with {difference}; use the same setting, or another output folder"
        )


def is_same_training(saved: Any, wanted: Any) -> bool:
    """Returns whether settings, as plain values, are of the same training: but for those that a run may go on without.

    Precision is no part of that: a state has its own, and refuses another.

    Args:
        saved: Settings of a run, with tables of `TrainingConfig` at any depth.
        wanted: Those that it is to go on with.
    """
    if isinstance(saved, dict) and isinstance(wanted, dict):
        names = (saved.keys() | wanted.keys()) - FREE_TO_CHANGE - {"precision"}
        return all(is_same_training(saved.get(name), wanted.get(name)) for name in names)
    if isinstance(saved, list | tuple) and isinstance(wanted, list | tuple):
        return len(saved) == len(wanted) and all(map(is_same_training, saved, wanted))
    return bool(saved == wanted)


def _first_difference(name: str, saved: Any, wanted: Any) -> str | None:
    """Names the first field that differs, as deep as tables go."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        fields = (
            _first_difference(f"{name}.{field}", saved[field], wanted[field])
            for field in sorted(saved)
            if field not in FREE_TO_CHANGE
        )
        return next((difference for difference in fields if difference is not None), None)
    return None if saved == wanted else f"{name} = {saved}, not {wanted}"
