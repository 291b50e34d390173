"""The jobs of train, distill and finish: a plan's networks are trained one by one, and a model is made of them."""

import contextlib
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

import torch

from cdm_core import Cascade, Examples, StageConfig, TrainingConfig, fetch_model
from cdm_core.training.cascade_training import NetworkEvent
from cdm_core.training.loop import TrainingEvent
from cdm_core.training.state import is_same_training
from run_folder import RunFolder, UsageError, whole_file
from run_folder.cli.devices import resolve_device
from urcdm import TrainingPlan, Urcdm
from urcdm.model import load_cascade
from urcdm.training.data import TrainingData, open_training_data
from urcdm.training.examples import InTurn
from urcdm_app.options.training import JobOptions
from urcdm_app.training.training_folder import claim_training

WORTH_SHOWING = 0.05
"""Share of a run's time without steps from which progress tells of it."""
Where = tuple[int, int]
"""The numbers of a network's level and stage."""
NetworkData = tuple[Examples, Examples | None]
"""Examples to train on and, if there are any, to measure the loss on."""


@dataclass(frozen=True)
class JobEvent:
    """Progress of one network.

    Args:
        done: Training steps done, of `TrainingJob.steps`.
        note: Its losses, to show beside a progress bar.
    """

    done: int
    note: str


Options = TypeVar("Options", bound=JobOptions)
Event = TypeVar("Event")


class TrainingJob(ABC, Generic[Options]):
    """The training of a plan's networks, each by itself.

    Args:
        options: The options of the command.
        plan: The plan, with the changes that the options make; read if not given.

    Attributes:
        plan: The plan, likewise.
        names: All networks of the plan, with the numbers of their levels and stages.
        chosen: Those to train, in their order.

    Raises:
        ConfigError: The plan cannot be read.
        UsageError: `only` names no network, or the device is none to train on.
    """

    tool: ClassVar[str]
    settings_file: ClassVar[str]
    """Name of the file with what the run was started with."""
    settings_differ: str
    """Names of the settings, for the error of a run that is resumed with others."""

    def __init__(self, options: Options, plan: TrainingPlan | None = None) -> None:
        self.options = options
        self.plan = self.read_plan(options) if plan is None else plan
        self.names = network_names(self.plan)
        if options.only is not None and options.only not in self.names:
            raise UsageError(f"--only {options.only}: no such network; the plan has {', '.join(self.names)}")
        self.device = training_device(options.device)
        self.chosen = {name: where for name, where in self.names.items() if options.only in (None, name)}

    @staticmethod
    @abstractmethod
    def read_plan(options: Options) -> TrainingPlan:
        """The plan, with the changes that were asked for."""

    @property
    def inputs(self) -> list[str | Path]:
        """Files and folders that the job reads, which its run must not remove."""
        return []

    def check(self) -> None:
        """Loads the model to start from, if there is one, and checks that it is the plan's.

        Raises:
            UsageError: It is not.
            CheckpointError, ConfigError: It cannot be read, or not be trained so.
        """

    @abstractmethod
    def for_network(self, name: str) -> Options:
        """The options for the job of one network, in a process of its own, within the run that has begun."""

    @abstractmethod
    def settings(self) -> str:
        """Text of the file with what the run was started with."""

    def has_settings(self, saved: Path) -> bool:
        """Whether a run that is resumed was started with the same settings."""
        try:
            before = tomllib.loads(saved.read_text(encoding="utf-8"))
        except ValueError:
            return False
        return is_same_training(before, tomllib.loads(self.settings()))

    @abstractmethod
    def stage(self, name: str) -> tuple[StageConfig, TrainingConfig]:
        """A network's stage, and how it is trained."""

    def folders(self, name: str) -> list[str]:
        """The folders of a network's training inside the run's, in their order."""
        return [name]

    def steps(self, name: str) -> int:
        """Training steps of a network in all."""
        return len(self.folders(name)) * self.stage(name)[1].steps

    @abstractmethod
    def train(self, name: str, data: NetworkData, *, resume: bool) -> Iterator[JobEvent]:
        """Trains a network, a step each time the iterator is advanced; closed earlier, it saves the state."""

    @abstractmethod
    def assemble(self, slides: list[str]) -> None:
        """Makes and saves the model of the networks that are trained, and tells of it.

        Args:
            slides: Names of the slides that they learnt from.
        """

    def open_data(self) -> TrainingData:
        """Opens what the networks learn from."""
        return open_training_data(self.plan, self.options.tiles, self.options.validation)

    def data(self, name: str, source: TrainingData) -> NetworkData:
        """The examples of a network; those of all levels that share it."""
        level, stage = self.names[name]
        seed = self.plan.of_level(level)[stage].training.seed
        if not self.plan.urcdm.shares(level):
            return source.examples(level, stage, seed)
        parts = [source.examples(each, stage, seed) for each in range(1, len(self.plan.urcdm.levels))]
        held_out = [part for _, part in parts if part is not None]
        return InTurn([part for part, _ in parts]), InTurn(held_out) if held_out else None

    def open_folder(self, run: RunFolder, source: TrainingData) -> None:
        """Claims the outputs of the run, and leaves its settings in its folder.

        Raises:
            RunFolderError: A file is there that no run of the command wrote.
            UsageError: The run to resume was started with other settings or tiles.
        """
        saved = self.options.out / self.settings_file
        if run.resumed and saved.exists() and not self.has_settings(saved):
            raise UsageError(f"{self.options.out} was started with {self.settings_differ}")
        claim_training(
            run, self.settings_file, (folder for name in self.names for folder in self.folders(name)), source
        )
        with whole_file(saved) as partial:
            partial.write_text(self.settings(), encoding="utf-8")


class StartingModel:
    """The model that a job starts from: all of it where it is checked, one level of it where one network is trained.

    Args:
        source: See `cdm_core.fetch_model`.
    """

    def __init__(self, source: str) -> None:
        self.source, self.folder = source, fetch_model(source)
        self._read: tuple[int, Cascade] | None = None

    @cached_property
    def whole(self) -> Urcdm:
        """The model."""
        return Urcdm.load(self.folder)

    def cascade(self, level: int) -> Cascade:
        """The cascade of a level."""
        if "whole" in self.__dict__:
            return self.whole.cascades[level]
        if self._read is None or self._read[0] != level:
            self._read = level, load_cascade(self.folder, level)
        return self._read[1]


def training_device(name: str) -> Literal["cpu", "auto"]:
    """Returns what `cdm_core.train_stage` takes for the device that `--device` names.

    Raises:
        UsageError: It is none to train on, or not here.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {name}: training takes auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        resolve_device(name)  # raises the error
    return "auto"


def network_names(plan: TrainingPlan) -> dict[str, Where]:
    """The networks' names, such as 'low-32', with the numbers of their level and stage."""
    return {
        network.name: (level, stage)
        for level in range(len(plan.urcdm.levels))
        for stage, network in enumerate(plan.of_level(level))
    }


def with_length(training: TrainingConfig, steps: int | None, batch: int | None) -> TrainingConfig:
    """A training with other numbers of steps, or of images a step, where they are given."""
    return replace(training, steps=steps or training.steps, batch_size=batch or training.batch_size)


def loss_note(event: TrainingEvent, validation_loss: float | None) -> str:
    """The text beside a progress bar."""
    parts = [f"loss {event.loss:.4f}"]
    if validation_loss is not None:
        parts.append(f"validation {validation_loss:.4f}")
    if event.skipped:
        parts.append(f"{event.skipped} skipped")
    if event.restored:
        parts.append(f"went back {event.restored} x")
    if event.aside_share >= WORTH_SHOWING:
        parts.append(f"{event.aside_share:.0%} of the time for states and sheets")
    return ", ".join(parts)


@contextlib.contextmanager
def closed(events: Iterator[Event]) -> Iterator[Iterator[Event]]:
    """Closes the events of a training at the end of the block, which saves its state; errors of that are raised."""
    try:
        yield events
    finally:
        if isinstance(events, Generator):
            events.close()


def stage_events(events: Iterable[NetworkEvent]) -> Iterator[JobEvent]:
    """The progress of a network that is trained in one go."""
    validation_loss: float | None = None
    for event in events:
        training = event.training
        validation_loss = validation_loss if training.validation_loss is None else training.validation_loss
        yield JobEvent(training.step, loss_note(training, validation_loss))
