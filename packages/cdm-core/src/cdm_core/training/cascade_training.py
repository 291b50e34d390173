"""Training all networks of a cascade, each in one phase or in several, and the cascade made of them."""

import contextlib
import datetime
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from cdm_core.cascade import Cascade
from cdm_core.config import CascadeConfig, StageConfig, TrainingConfig
from cdm_core.distillation.finishing import FinishingPlan
from cdm_core.errors import ConfigError
from cdm_core.stages.examples import Examples
from cdm_core.training.loop import train_stage
from cdm_core.training.monitor import TrainingEvent
from cdm_core.training.setup import check_training
from cdm_core.training.state import STATE_FILE, load_trained

Phase = TrainingConfig | FinishingPlan
"""How a network is trained in one phase; the latter finishes its student, see `cdm_core.distillation.finishing`."""
ExamplesOf = Callable[[str, TrainingConfig], tuple[Examples, Examples | None]]
"""Makes the examples of a phase, which is named, and held-out ones if there are any."""


@dataclass(frozen=True)
class NetworkEvent:
    """A step of one network.

    Args:
        network: Its folder in the run, which names the network and the phase, such as '64-pairs'.
        steps: Steps of the phase.
        training: What happened.
    """

    network: str
    steps: int
    training: TrainingEvent


@dataclass(frozen=True)
class TrainedNetwork:
    """A network after its training.

    Args:
        stage: Its stage; a student's if it was finished.
        unet: The network, with the running mean of its weights.
        steps: For provenance: steps and batch size of each phase, such as '64-pairs 1000 x 8'.
        is_done: Whether each phase came to its end.
    """

    stage: StageConfig
    unet: nn.Module
    steps: tuple[str, ...]
    is_done: bool


@dataclass(frozen=True)
class NetworkTraining:
    """The training of one network, in phases that each begin with the averaged weights of the one before.

    A network that is finished is from then on its student's: its stage is sampled in few steps of DDIM.

    Args:
        name: Of the network; its folders in a run begin with it.
        stage: Its stage.
        phases: How it is trained, by the names of the phases, in their order. The folder of a phase is '64-pairs', or
            '64' for one without a name.
        initial: Gives the network to begin with, and is called only if that is needed; fresh weights if it gives None.
    """

    name: str
    stage: StageConfig
    phases: Mapping[str, Phase]
    initial: Callable[[], nn.Module | None] = lambda: None

    def check(self, *, processes: int = 1) -> None:
        """Checks that the network can be trained so, before anything is written.

        Raises:
            ConfigError: See `cdm_core.training.setup.check_training` and `FinishingPlan.student`.
        """
        for phase, plan in self.phases.items():
            check_training(self.stage_in(phase), training_of(plan), processes=processes)

    def folder(self, phase: str) -> str:
        """Returns the name of a phase's folder in the run's."""
        return f"{self.name}-{phase}" if phase else self.name

    def stage_in(self, phase: str) -> StageConfig:
        """Returns the stage as a phase trains it."""
        stage = self.stage
        for name, plan in self.phases.items():
            stage = plan.student(stage) if isinstance(plan, FinishingPlan) else stage
            if name == phase:
                break
        return stage

    def train(
        self, examples_of: ExamplesOf, folder: Path, *, device: Literal["cpu", "auto"] = "auto", resume: bool = False
    ) -> Iterator[NetworkEvent]:
        """Trains the network, a step each time the iterator is advanced; closed earlier, it saves the state.

        Args:
            examples_of: Where examples come from.
            folder: Of the run; gets a folder for each phase, as of `train_stage`.
            device: 'auto' takes an accelerator where there is one.
            resume: Go on with what is in the folders.

        Yields:
            An event a step.

        Raises:
            CheckpointError, ConfigError, TrainingError, ValueError: As of `train_stage`.
        """
        for phase, plan in self.phases.items():
            training, path = training_of(plan), folder / self.folder(phase)
            examples, validation = examples_of(phase, training)
            is_begun = resume and (path / STATE_FILE).exists()
            events = train_stage(
                self.stage_in(phase),
                training,
                examples,
                path,
                validation=validation,
                device=device,
                initial=None if is_begun else self._start(phase, folder),
                finishing=plan.losses if isinstance(plan, FinishingPlan) else None,
                resume=resume,
            )
            with _closed(events):
                for event in events:
                    yield NetworkEvent(self.folder(phase), training.steps, event)

    def trained(self, folder: Path) -> TrainedNetwork:
        """Reads the network as it is after its last phase; without phases it is the one that it began with.

        Raises:
            CheckpointError: A phase has left no state, or it cannot be read.
            ConfigError: It has neither a phase nor a network to begin with.
        """
        stage, unet, steps = self.stage, self.initial() if self._needs_initial() else None, list[str]()
        is_done = True
        for phase, plan in self.phases.items():
            start, stage = unet, self.stage_in(phase)
            unet, done = load_trained(folder / self.folder(phase) / STATE_FILE, stage)
            if isinstance(plan, FinishingPlan) and start is not None:
                unet = plan.merged(start, unet)
            is_done = is_done and done >= training_of(plan).steps
            steps.append(f"{self.folder(phase)} {done} x {training_of(plan).batch_size}")
        if unet is None:
            raise ConfigError(f"the stage of {self.stage.image_px} px has no phase of training")
        return TrainedNetwork(stage, unet, tuple(steps), is_done)

    def _needs_initial(self) -> bool:
        """Whether something of the network to begin with is left after the training."""
        first = next(iter(self.phases.values()), None)
        return first is None or (isinstance(first, FinishingPlan) and first.share < 1)

    def _start(self, phase: str, folder: Path) -> nn.Module | None:
        """Returns the network that a phase begins with."""
        names = list(self.phases)
        before = {name: self.phases[name] for name in names[: names.index(phase)]}
        return replace(self, phases=before).trained(folder).unet if before else self.initial()


def train_cascade(
    networks: Sequence[NetworkTraining],
    examples_of: ExamplesOf,
    folder: Path,
    *,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
) -> Generator[NetworkEvent, None, Cascade]:
    """Trains all networks of a cascade, one after the other, a step each time the iterator is advanced.

    Args:
        networks: The networks, from the smallest stage to the largest.
        examples_of: Where examples come from.
        folder: Of the run; gets a folder for each network and phase, as of `train_stage`.
        device: 'auto' takes an accelerator where there is one.
        resume: Go on with what is in the folder.

    Yields:
        An event a step.

    Returns:
        The cascade with the averaged weights; its provenance has the steps and the date.

    Raises:
        CheckpointError, ConfigError, TrainingError, ValueError: As of `train_stage`.
    """
    for network in networks:
        yield from network.train(examples_of, folder, device=device, resume=resume)
    trained = [network.trained(folder) for network in networks]
    return Cascade(
        CascadeConfig(tuple(each.stage for each in trained)),
        [each.unet for each in trained],
        {
            "steps": "; ".join(steps for each in trained for steps in each.steps),
            "weights": "running mean (EMA)",
            "date": datetime.date.today().isoformat(),
        },
    )


def training_of(phase: Phase) -> TrainingConfig:
    """Returns how the network of a phase is trained."""
    return phase.training if isinstance(phase, FinishingPlan) else phase


@contextlib.contextmanager
def _closed(events: Iterator[TrainingEvent]) -> Iterator[None]:
    """Closes the events of a training at the end of the block, which saves its state; errors of that are raised."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()
