"""`urcdm-app finish`: a model's students trained on against discriminators on real images."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import replace

import tomli_w
from torch import nn

from cdm_core import StageConfig, TrainingConfig
from cdm_core.config_file import dump_config
from cdm_core.distillation.finishing import FinishingPlan
from cdm_core.training.cascade_training import NetworkTraining
from run_folder import UsageError
from run_folder.cli.console import say
from urcdm import NetworkPlan, TrainingPlan
from urcdm.training.plan_file import read_plan
from urcdm_app.options.training import FinishOptions
from urcdm_app.training.model_job import ModelJob
from urcdm_app.training.training_job import (
    JobEvent,
    NetworkData,
    closed,
    stage_events,
    with_length,
)


class FinishJob(ModelJob[FinishOptions]):
    """The finishing of a model's students on real images.

    Raises:
        CheckpointError: There is no such model.
    """

    tool, settings_file = "urcdm-app finish", "finishing.toml"
    settings_differ = "another model, plan, --steps or --batch; use the same"

    @staticmethod
    def read_plan(options: FinishOptions) -> TrainingPlan:
        """The plan, with the changes that were asked for."""
        return _with_changes(read_plan(options.plan), options.steps, options.batch)

    def check(self) -> None:
        """Makes sure that the model is the plan's, and chooses its students unless a network was named.

        Raises:
            UsageError: The model is not of the plan, or has no student.
            CheckpointError: It cannot be read.
            ConfigError: The network that was named is no student.
        """
        super().check()
        if self.options.only is None:
            self.chosen = {name: where for name, where in self.names.items() if self._is_to_finish(name)}
        if not self.chosen:
            raise UsageError(
                f"--model {self.options.model}: none of its networks is a student; make students with: urcdm-app "
                "distill, or set finishing.steps in the plan"
            )
        for name in self.chosen:
            self.stage(name)

    def settings(self) -> str:
        """The settings that the finished networks depend on, as TOML."""
        return tomli_w.dumps({"model": self.model.whole.fingerprint(), "plan": dump_config(self.plan)})

    def network(self, name: str) -> NetworkTraining:
        """The finishing of a network, in the folder of its name."""
        level, number = self.names[name]
        phases = {"": self._finishing(name)}
        return NetworkTraining(name, self.model_stage(name), phases, lambda: self.model.cascade(level).unets[number])

    def stage(self, name: str) -> tuple[StageConfig, TrainingConfig]:
        """The stage of a network as it is finished, and how it is trained."""
        finishing = self._finishing(name)
        return finishing.student(self.model_stage(name)), finishing.training

    def train(self, name: str, data: NetworkData, *, resume: bool) -> Iterator[JobEvent]:
        """Finishes a network, a step each time the iterator is advanced; closed earlier, it saves the state."""
        events = self.network(name).train(lambda *_: data, self.options.out, device=self.device, resume=resume)
        with closed(events):
            yield from stage_events(events)

    def assemble(self, slides: list[str]) -> None:
        """Saves the model with the networks that have been finished, and tells of it."""
        students = self.model.whole
        finished = {name: network for name in self.names if (network := self._finished(name)) is not None}
        origin = {
            "finished_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
            "finished": ", ".join(finished),
            "teacher": str(students.provenance.get("teacher", "")),
            "students": students.fingerprint(),
        }
        if missing := self.save_model(finished, slides, origin):
            say(f"Not finished, and as they were: {', '.join(missing)}")

    def _finishing(self, name: str) -> FinishingPlan:
        level, stage = self.names[name]
        return self.plan.of_level(level)[stage].finishing

    def _is_to_finish(self, name: str) -> bool:
        """Whether the plan names the steps of a network, or it is sampled as students are."""
        sampling = self.model_stage(name).sampling
        return self._finishing(name).steps is not None or (sampling.method == "ddim" and not sampling.eta)

    def _finished(self, name: str) -> tuple[StageConfig, nn.Module] | None:
        """The stage and the network that were finished, if its training has come to an end."""
        if not (self.options.out / name / "state.pt").exists():
            return None
        trained = self.network(name).trained(self.options.out)
        return (trained.stage, trained.unet) if trained.is_done else None


def _with_changes(plan: TrainingPlan, steps: int | None, batch: int | None) -> TrainingPlan:
    """The plan with other numbers of steps or images a step of finishing."""

    def changed(network: NetworkPlan) -> NetworkPlan:
        training = with_length(network.finishing.training, steps, batch)
        return replace(network, finishing=replace(network.finishing, training=training))

    return replace(plan, networks=tuple(changed(network) for network in plan.networks))
