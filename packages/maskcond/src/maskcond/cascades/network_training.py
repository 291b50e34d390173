"""The networks of a cascade trained one after the other, each in one phase or in several; resumable."""

import datetime
import importlib.metadata
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from cdm_core import Cascade, CascadeConfig, ConfigError, TrainingConfig
from cdm_core.distillation.finishing import FinishingPlan
from cdm_core.training.examples import Examples
from cdm_core.training.loop import TrainingEvent, check_training, train_stage
from cdm_core.training.state import load_trained
from run_folder import whole_file

Phase = TrainingConfig | FinishingPlan
"""How a network is trained in one phase; the latter finishes its student, see `cdm_core.distillation.finishing`."""
Phases = Mapping[str, Phase]
"""How a network is trained, by the names of the phases, in their order."""
ExamplesOf = Callable[[str, TrainingConfig], tuple[Examples, Examples | None]]
"""Makes the examples of a phase, and held-out ones if there are any."""


@dataclass(frozen=True)
class NetworkEvent:
    """A step of one network.

    Args:
        network: Side of its images and phase, such as '64-pairs'; its folder in the run.
        steps: How many it is trained for.
        training: What happened.
    """

    network: str
    steps: int
    training: TrainingEvent


def train_networks(
    cascade: CascadeConfig,
    phases: Sequence[Phases],
    examples_of: ExamplesOf,
    out_dir: Path,
    *,
    initial: Sequence[nn.Module] | None = None,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
) -> Generator[NetworkEvent, None, Cascade]:
    """Trains the stages of a cascade; each phase begins with the averaged weights of the one before.

    A network that is finished is from then on its student's: the cascade has that stage, with few steps of DDIM.

    Args:
        cascade: The stages.
        phases: Of each stage, one or more; none leaves the network of `initial` as it is.
        examples_of: Where examples come from.
        out_dir: Gets a folder for each stage and phase, as of `cdm_core.train_stage`.
        initial: Networks to begin with; fresh weights if not given.
        device: 'auto' takes an accelerator where there is one.
        resume: Go on with what is in `out_dir`.

    Yields:
        An event a step.

    Returns:
        The cascade with the averaged weights; its provenance tells the steps and the date.

    Raises:
        CheckpointError, ConfigError, TrainingError, ValueError: As of `cdm_core.train_stage`.
    """
    stages, unets, steps = [], [], []
    for i, (stage, of_stage) in enumerate(zip(cascade.stages, phases, strict=True)):
        unet = None if initial is None else initial[i]
        for phase, plan in of_stage.items():
            name, training, losses = f"{stage.image_px}-{phase}", training_of(plan), None
            if isinstance(plan, FinishingPlan):
                stage, losses = plan.student(stage), plan.losses
            examples, validation = examples_of(phase, training)
            for event in train_stage(
                stage,
                training,
                examples,
                out_dir / name,
                validation=validation,
                device=device,
                initial=unet,
                finishing=losses,
                resume=resume,
            ):
                yield NetworkEvent(name, training.steps, event)
            start, (unet, done) = unet, load_trained(out_dir / name / "state.pt", stage)
            if isinstance(plan, FinishingPlan) and start is not None:
                unet = plan.merged(start, unet)
            steps.append(f"{name} {done} x {training.batch_size}")
        if unet is None:
            raise ConfigError(f"the stage of {stage.image_px} px has no phase of training")
        stages.append(stage)
        unets.append(unet)
    provenance = {
        "trained_by": f"maskcond {importlib.metadata.version('maskcond')}",
        "steps": "; ".join(steps),
        "weights": "running mean (EMA)",
        "date": datetime.date.today().isoformat(),
    }
    return Cascade(CascadeConfig(tuple(stages)), unets, provenance)


def training_of(phase: Phase) -> TrainingConfig:
    """Returns the settings of a phase's training."""
    return phase.training if isinstance(phase, FinishingPlan) else phase


def is_main_process() -> bool:
    """Whether this process looks after files; of those that `accelerate launch` starts, one does."""
    return os.environ.get("RANK", "0") == "0"


def open_run(plan_text: str, out_dir: Path, *, resume: bool) -> None:
    """Leaves the plan, as TOML, in the folder of a run as `plan.toml`, or makes sure that it is the run's.

    Raises:
        ConfigError: The folder holds a run that is not to be resumed, or one of another plan.
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


def check_phases(cascade: CascadeConfig, phases: Sequence[Phases]) -> None:
    """Makes sure that the networks can be trained so, before anything is written.

    Raises:
        ConfigError: See `cdm_core.training.loop.check_training`, and `FinishingPlan.student`.
    """
    for stage, of_stage in zip(cascade.stages, phases, strict=True):
        for phase in of_stage.values():
            stage = phase.student(stage) if isinstance(phase, FinishingPlan) else stage
            check_training(stage, training_of(phase))
