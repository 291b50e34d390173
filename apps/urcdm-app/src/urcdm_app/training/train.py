"""`urcdm-app train`: the networks of a model, one after the other, and the model from them."""

import datetime
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.config import NetworkConfig
from cdm_core.config_file import dump_config
from cdm_core.interop.diffusers import latent_network
from cdm_core.stages.widen import with_final_residual
from cdm_core.training.cascade_training import NetworkTraining
from cdm_core.training.state import is_same_training
from run_folder import UsageError
from run_folder.cli.console import say
from urcdm import NetworkPlan, TrainingPlan, Urcdm
from urcdm.training.plan_file import read_plan
from urcdm_app.options.training import TrainOptions
from urcdm_app.training.training_job import (
    JobEvent,
    NetworkData,
    StartingModel,
    TrainingJob,
    closed,
    stage_events,
    with_length,
)

PLAN_FILE = "plan.toml"


class TrainJob(TrainingJob[TrainOptions]):
    """The training of a model, from fresh weights, another model's, or those of models in diffusers' form.

    Raises:
        CheckpointError: There is no model to start from.
    """

    tool, settings_file = "urcdm-app train", PLAN_FILE

    def __init__(self, options: TrainOptions, plan: TrainingPlan | None = None) -> None:
        super().__init__(options, plan)
        saved = options.out / PLAN_FILE
        self.settings_differ = f"another plan, --steps or --batch; go on with --resume --plan {saved}"
        self._start = None if options.start_from is None else StartingModel(options.start_from)

    @staticmethod
    def read_plan(options: TrainOptions) -> TrainingPlan:
        """The plan, with the changes that were asked for."""
        return with_changes(read_plan(options.plan), options.steps, options.batch)

    @property
    def inputs(self) -> list[str | Path]:
        """The model to start from."""
        return [] if self._start is None else [self._start.source, self._start.folder]

    def check(self) -> None:
        """Makes sure that the networks to start from are the plan's, but for a final residual, which they are given.

        Raises:
            UsageError: They are not.
            CheckpointError, ConfigError: They cannot be read.
        """
        if self._start is None:
            return
        planned = [self._planned(level) for level in range(len(self.plan.urcdm.levels))]
        found = [_with_residuals(*each) for each in zip(self._start.whole.cascades, planned, strict=False)]
        if [_networks_of(cascade.config) for cascade in found] != planned or len(self._start.whole.cascades) != len(
            planned
        ):
            raise UsageError(
                f"--from {self._start.source}: its networks are not those of the plan; take the plan that it was "
                "trained by"
            )

    def for_network(self, name: str) -> TrainOptions:
        """The options for the job of one network, in a process of its own, within the run that has begun."""
        start = None if self._start is None else str(self._start.folder)
        return replace(self.options, only=name, overwrite=False, resume=True, start_from=start)

    def settings(self) -> str:
        """The plan as TOML."""
        return tomli_w.dumps(dump_config(self.plan))

    def has_settings(self, saved: Path) -> bool:
        """Whether a run that is resumed was started with the same plan, however it was written."""
        return is_same_training(dump_config(read_plan(saved)), dump_config(self.plan))

    def network(self, name: str) -> NetworkTraining:
        """The training of a network, in the folder of its name."""
        stage, training = self.stage(name)
        return NetworkTraining(name, stage, {"": training}, lambda: self._initial(name))

    def stage(self, name: str) -> tuple[StageConfig, TrainingConfig]:
        """A network's stage, and how it is trained."""
        network = self._network(name)
        return network.stage, network.training

    def train(self, name: str, data: NetworkData, *, resume: bool) -> Iterator[JobEvent]:
        """Trains a network, a step each time the iterator is advanced; closed earlier, it saves the state."""
        events = self.network(name).train(lambda *_: data, self.options.out, device=self.device, resume=resume)
        with closed(events):
            yield from stage_events(events)

    def assemble(self, slides: list[str]) -> None:
        """Saves the model as soon as all networks have been trained, and tells of it."""
        out = self.options.out
        missing = [name for name in self.names if not (out / name / "state.pt").exists()]
        if missing:
            say(f"{out}: still to train before there is a model: {', '.join(missing)}")
            return
        self._assembled(slides).save(out / "model", dtype=torch.float16, overwrite=True)
        say(f"{out / 'model'} (model); sample from it with: urcdm-app sample --model {out / 'model'}")

    def _assembled(self, slides: list[str]) -> Urcdm:
        plan = self.plan
        names = [plan.urcdm.cascade_name(level) for level in range(len(plan.urcdm.levels))]
        cascades: dict[str, Cascade] = {}
        steps: list[str] = []
        for level, cascade_name in enumerate(names):
            if cascade_name not in cascades:
                trained = [self.network(network.name).trained(self.options.out) for network in plan.of_level(level)]
                cascades[cascade_name] = Cascade(plan.cascade(level), [each.unet for each in trained])
                steps += [line for each in trained for line in each.steps]
        provenance = {
            "data": ", ".join(slides),
            "trained_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
            "steps": "; ".join(steps),
            "weights": "running mean (EMA), half precision",
            "date": datetime.date.today().isoformat(),
        }
        return Urcdm(plan.urcdm, [cascades[name] for name in names], provenance)

    def _network(self, name: str) -> NetworkPlan:
        level, stage = self.names[name]
        return self.plan.of_level(level)[stage]

    def _planned(self, level: int) -> list[NetworkConfig]:
        return _networks_of(self.plan.cascade(level))

    def _initial(self, name: str) -> nn.Module | None:
        """The weights that a network starts from: a model's, those of a model in diffusers' form, or fresh ones."""
        level, stage = self.names[name]
        if self._start is not None:
            return _with_residuals(self._start.cascade(level), self._planned(level)).unets[stage]
        network = self._network(name)
        return None if network.diffusers is None else latent_network(network.diffusers, network.stage)


def _networks_of(cascade: CascadeConfig) -> list[NetworkConfig]:
    return [stage.unet for stage in cascade.stages]


def _with_residuals(cascade: Cascade, planned: Sequence[NetworkConfig]) -> Cascade:
    """A cascade whose networks have the final residual where the planned ones have."""
    networks = list(zip(cascade.config.stages, cascade.unets, strict=True))
    for i, unet in enumerate(planned[: len(networks)]):
        if isinstance(unet, UnetConfig) and unet.init_conv_to_final_conv_residual:
            networks[i] = with_final_residual(*networks[i])
    stages, unets = zip(*networks, strict=True)
    return Cascade(CascadeConfig(stages), unets, cascade.provenance)


def with_changes(plan: TrainingPlan, steps: int | None, batch: int | None) -> TrainingPlan:
    """The plan with other numbers of steps or images a step."""

    def changed(network: NetworkPlan) -> NetworkPlan:
        return replace(network, training=with_length(network.training, steps, batch))

    return replace(plan, networks=tuple(changed(network) for network in plan.networks))
