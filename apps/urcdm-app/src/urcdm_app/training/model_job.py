"""Jobs that start from a model of the plan, and replace networks of it: distillation and finishing."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from cdm_core import StageConfig
from run_folder import UsageError
from run_folder.cli.console import say
from urcdm import TrainingPlan
from urcdm_app.options.training import DistillOptions, FinishOptions
from urcdm_app.training.training_job import StartingModel, TrainingJob

Options = TypeVar("Options", bound=DistillOptions | FinishOptions)


class ModelJob(TrainingJob[Options]):
    """A job that trains networks of a model.

    Args:
        options: The options of the command.
        plan: The plan, with the changes that the options make; read if not given.

    Attributes:
        model: The model that it starts from.

    Raises:
        CheckpointError: There is no such model.
    """

    def __init__(self, options: Options, plan: TrainingPlan | None = None) -> None:
        super().__init__(options, plan)
        self.model = StartingModel(options.model)

    @property
    def inputs(self) -> list[str | Path]:
        """The model to start from."""
        return [self.model.folder]

    def check(self) -> None:
        """Checks that the model is the plan's.

        Raises:
            UsageError: It is not.
            CheckpointError: It cannot be read.
        """
        model = self.model.whole
        if not self.plan.describes(model.config, [cascade.config for cascade in model.cascades]):
            raise UsageError(
                f"--model {self.options.model}: it is not of the plan; take the plan that it was trained by, --plan"
            )

    def for_network(self, name: str) -> Options:
        """The options for the job of one network, in a process of its own, within the run that has begun."""
        return replace(self.options, only=name, overwrite=False, resume=True, model=str(self.model.folder))

    def model_stage(self, name: str) -> StageConfig:
        """The stage of a network as the model has it."""
        level, stage = self.names[name]
        return self.model.cascade(level).config.stages[stage]

    def save_model(
        self, networks: Mapping[str, tuple[StageConfig, nn.Module]], slides: Sequence[str], origin: Mapping[str, str]
    ) -> list[str]:
        """Saves the model with its new networks, and says where it is.

        Args:
            networks: The new networks and their stages, by the plan's names.
            slides: Names of the slides that they learnt from.
            origin: Provenance besides the data, the precision and the date.

        Returns:
            Names of the networks that stay as they were.
        """
        out = self.options.out / "model"
        provenance = {
            "data": ", ".join(slides),
            **origin,
            "weights": "running mean (EMA), half precision",
            "date": datetime.date.today().isoformat(),
        }
        places = {name: (self.plan.urcdm.cascade_name(level), stage) for name, (level, stage) in self.names.items()}
        replaced = {places[name]: network for name, network in networks.items()}
        self.model.whole.with_networks(replaced, provenance).save(out, dtype=torch.float16, overwrite=True)
        say(f"{out} (model); sample from it with: urcdm-app sample --model {out}")
        return [name for name in self.names if name not in networks]
