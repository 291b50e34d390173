"""`urcdm-app distill`: a model that takes few steps, from one that takes many."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tomli_w
from torch import nn

from cdm_core import SamplingConfig, StageConfig, TrainingConfig
from cdm_core.config_file import dump_config
from cdm_core.diffusion.solver import SOLVERS
from cdm_core.distillation.teacher import student_of, students_of
from cdm_core.training.state import load_trained
from cdm_core.training.students import distill_stage
from run_folder.cli.console import say
from urcdm import NetworkPlan, TrainingPlan
from urcdm.training.plan_file import read_plan
from urcdm_app.options.training import DistillOptions
from urcdm_app.training.model_job import ModelJob
from urcdm_app.training.train import with_changes
from urcdm_app.training.training_job import (
    JobEvent,
    NetworkData,
    closed,
    loss_note,
)


class DistillJob(ModelJob[DistillOptions]):
    """The distillation of a model: of each network a chain of students, each the teacher of the next.

    Raises:
        CheckpointError: There is no such model.
    """

    tool, settings_file = "urcdm-app distill", "distillation.toml"
    settings_differ = "another model, plan, --to, --method, --steps or --batch"

    @staticmethod
    def read_plan(options: DistillOptions) -> TrainingPlan:
        """The plan, with the changes that were asked for."""
        return with_changes(read_plan(options.plan), options.steps, options.batch)

    def check(self) -> None:
        """Makes sure that the model is the plan's, and that each of its networks can have such students.

        Raises:
            UsageError: The model is not of the plan.
            CheckpointError: It cannot be read.
            ConfigError: A network predicts noise, or takes as few steps already.
        """
        super().check()
        for name in self.names:
            self._chain(name)
            student_of(self.model_stage(name), self.options.least)

    def settings(self) -> str:
        """The settings that the students depend on, as TOML."""
        return tomli_w.dumps(
            {
                "teacher": self.model.whole.fingerprint(),
                "steps": self.options.least,
                "method": self.options.method.value,
                "plan": dump_config(self.plan),
            }
        )

    def stage(self, name: str) -> tuple[StageConfig, TrainingConfig]:
        """A network's stage, and how each student is trained."""
        level, stage = self.names[name]
        training = self.plan.of_level(level)[stage].training
        return self.model_stage(name), replace(training, loss_weight="truncated_snr")

    def folders(self, name: str) -> list[str]:
        """The folders of a network's students inside the run's, in their order."""
        return [f"{name}/{count}-steps" for count in self._chain(name)]

    def train(self, name: str, data: NetworkData, *, resume: bool) -> Iterator[JobEvent]:
        """Trains the students of a network one after the other; closed earlier, it saves the state."""
        level, stage = self.names[name]
        (config, training), chain = self.stage(name), self._chain(name)
        validation_loss: float | None = None
        events = distill_stage(
            self.model.cascade(level).unets[stage],
            config,
            training,
            data[0],
            self.options.out / name,
            steps=chain,
            method=self.options.method.value,
            validation=data[1],
            device=self.device,
            resume=resume,
        )
        with closed(events):
            for event in events:
                validation_loss = event.training.validation_loss or validation_loss
                done = chain.index(event.steps) * training.steps + event.training.step
                yield JobEvent(done, f"{event.steps} steps, {loss_note(event.training, validation_loss)}")

    def assemble(self, slides: list[str]) -> None:
        """Saves the model with the students that there are, and tells of it."""
        students: dict[str, tuple[StageConfig, nn.Module]] = {}
        for name, (level, stage) in self.names.items():
            config = student_of(self.model_stage(name), self.options.least)
            student = _student(self.options.out, self.plan.of_level(level)[stage], config)
            if student is not None:
                students[name] = config, student
        version = importlib.metadata.version("urcdm-app")
        origin = {"distilled_by": f"urcdm-app {version}", "teacher": self.model.whole.fingerprint()}
        if missing := self.save_model(students, slides, origin):
            say(f"Not distilled, and as the teacher's: {', '.join(missing)}")

    def _chain(self, name: str) -> tuple[int, ...]:
        """Steps of a network's students, in their order."""
        chain = students_of(_steps_of_ddim(self.model_stage(name).sampling), self.options.least)
        return chain[-1:] if self.options.method.value == "consistency" else chain  # which needs none on the way


def _steps_of_ddim(sampling: SamplingConfig) -> int:
    """Steps in which DDIM, which is what students learn, does as well as a stage's own solver in its own."""
    return sampling.steps * SOLVERS[sampling.method].order


def _student(out: Path, network: NetworkPlan, config: StageConfig) -> nn.Module | None:
    """The last student of a network, if its training has come to an end."""
    state = out / network.name / f"{config.sampling.steps}-steps" / "state.pt"
    if not state.exists():
        return None
    student, steps = load_trained(state, config)
    return student if steps == network.training.steps else None
