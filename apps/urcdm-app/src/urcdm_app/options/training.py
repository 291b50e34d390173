"""The options of `train`, `distill` and `finish`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from urcdm_app import builtin
from urcdm_app.options.kinds import MODEL_KINDS, Device, Gpus, Overwrite, Plan, Resume

MOST_TRAINING_STEPS = 10**9
AS_PLANNED = "as the plan says"
OutFolder = Annotated[Path, typer.Option(help="Folder of the run: a folder for each network, and the model.")]


class DistillationMethod(StrEnum):
    """How students are taught."""

    PROGRESSIVE = "progressive"
    CONSISTENCY = "consistency"


def _steps(of: str) -> Any:
    """The option for the training steps of networks, or of students."""
    return typer.Option(min=1, max=MOST_TRAINING_STEPS, help=f"Training steps of every {of}.", show_default=AS_PLANNED)


def _only(verb: str, networks: str) -> Any:
    """The option for the one network to work on."""
    return typer.Option(help=f"{verb} this network only, such as 'high-128'.", show_default=networks)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The devices, and whether an earlier run is continued or replaced."""

    device: Device = "auto"
    gpus: Gpus = None
    overwrite: Overwrite = False
    resume: Resume = False


@dataclass(frozen=True, kw_only=True)
class _Networks:
    """The length of the training, and the networks to train."""

    steps: Annotated[int | None, _steps("network")] = None
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default=AS_PLANNED)] = None
    only: Annotated[str | None, _only("Train", "all, in turn")] = None


@dataclass(frozen=True, kw_only=True)
class _Data:
    """The tiles to learn from, the folder of the run, and its plan."""

    tiles: Annotated[Path, typer.Option(help="Folder or table that 'tile' wrote, or shards of 'export'.")] = Path(
        "tiles"
    )
    validation: Annotated[
        Path | None,
        typer.Option(
            help="The same of held-out slides, to measure the loss on.", show_default="the split 'validation', if any"
        ),
    ] = None
    out: OutFolder = Path("runs/train")
    plan: Plan = builtin.PLAN


@dataclass(frozen=True, kw_only=True)
class _Start:
    start_from: Annotated[
        str | None,
        typer.Option("--from", help=f"What to start from: {MODEL_KINDS}.", show_default="fresh weights"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _Students:
    least: Annotated[int, typer.Option("--to", min=1, help="Sampling steps of every network at the end.")] = 4
    method: Annotated[
        DistillationMethod,
        typer.Option(help="Halve the steps student by student, or go to the last at once, learning from itself."),
    ] = DistillationMethod.PROGRESSIVE


@dataclass(frozen=True, kw_only=True)
class _Teacher:
    model: Annotated[
        str, typer.Option(help=f"The model to learn from: {MODEL_KINDS}.", show_default="the built-in model's teacher")
    ] = str(builtin.TEACHER)


@dataclass(frozen=True, kw_only=True)
class _Model:
    model: Annotated[
        str, typer.Option(help=f"The model with students: {MODEL_KINDS}.", show_default="the built-in model")
    ] = str(builtin.MODEL)


# A command lists its options from its last base to its first.


@dataclass(frozen=True, kw_only=True)
class TrainOptions(_Place, _Start, _Networks, _Data):
    """The options of `train`."""


@dataclass(frozen=True, kw_only=True)
class DistillOptions(_Place, _Networks, _Students, _Data, _Teacher):
    """The options of `distill`."""

    out: OutFolder = Path("runs/distill")
    steps: Annotated[int | None, _steps("student")] = None
    only: Annotated[str | None, _only("Distil", "all, in turn")] = None


@dataclass(frozen=True, kw_only=True)
class FinishOptions(_Place, _Networks, _Data, _Model):
    """The options of `finish`."""

    out: OutFolder = Path("runs/finish")
    only: Annotated[str | None, _only("Finish", "all students, in turn")] = None


JobOptions = TrainOptions | DistillOptions | FinishOptions
