"""`urcdm-app distill`: a model that takes few steps, from one that takes many."""

import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, TrainingConfig
from cdm_core.config_file import dump_config
from cdm_core.diffusion.solver import SOLVERS
from cdm_core.distillation.teacher import student_of, students_of
from cdm_core.training.state import load_trained
from cdm_core.training.students import distill_stage
from run_folder import UsageError
from run_folder.cli.console import say
from urcdm import NetworkPlan, TrainingPlan, Urcdm
from urcdm.training.plan_file import read_plan
from urcdm_app.options.training import DistillOptions
from urcdm_app.training.train import with_changes
from urcdm_app.training.training_job import (
    JobEvent,
    NetworkData,
    StartingModel,
    TrainingJob,
    closed,
    loss_note,
)


class DistillJob(TrainingJob[DistillOptions]):
    """The distillation of a model: of each network a chain of students, each the teacher of the next.

    Raises:
        CheckpointError: There is no such model.
    """

    tool, settings_file = "urcdm-app distill", "distillation.toml"
    settings_differ = "another model, plan, --to, --method, --steps or --batch"

    def __init__(self, options: DistillOptions, plan: TrainingPlan | None = None) -> None:
        super().__init__(options, plan)
        self._teacher = StartingModel(options.model)

    @staticmethod
    def read_plan(options: DistillOptions) -> TrainingPlan:
        """The plan, with the changes that were asked for."""
        return with_changes(read_plan(options.plan), options.steps, options.batch)

    @property
    def inputs(self) -> list[str | Path]:
        """The model to distil."""
        return [self._teacher.folder]

    def check(self) -> None:
        """Makes sure that the model is the plan's, and that each of its networks can have such students.

        Raises:
            UsageError: The model is not of the plan.
            CheckpointError: It cannot be read.
            ConfigError: A network predicts noise, or takes as few steps already.
        """
        check_networks(self.options.model, self._teacher.whole, self.plan)
        for name in self.names:
            self._chain(name)
            student_of(self._teacher_stage(name), self.options.least)

    def for_network(self, name: str) -> DistillOptions:
        """The options for the job of one network, in a process of its own, within the run that has begun."""
        return replace(self.options, only=name, overwrite=False, resume=True, model=str(self._teacher.folder))

    def settings(self) -> str:
        """The settings that the students depend on, as TOML."""
        return tomli_w.dumps(
            {
                "teacher": self._teacher.whole.fingerprint(),
                "steps": self.options.least,
                "method": self.options.method.value,
                "plan": dump_config(self.plan),
            }
        )

    def stage(self, name: str) -> tuple[StageConfig, TrainingConfig]:
        """A network's stage, and how each student is trained."""
        level, stage = self.names[name]
        training = self.plan.of_level(level)[stage].training
        return self._teacher_stage(name), replace(training, loss_weight="truncated_snr")

    def folders(self, name: str) -> list[str]:
        """The folders of a network's students inside the run's, in their order."""
        return [f"{name}/{count}-steps" for count in self._chain(name)]

    def train(self, name: str, data: NetworkData, *, resume: bool) -> Iterator[JobEvent]:
        """Trains the students of a network one after the other; closed earlier, it saves the state."""
        level, stage = self.names[name]
        (config, training), chain = self.stage(name), self._chain(name)
        validation_loss: float | None = None
        events = distill_stage(
            self._teacher.cascade(level).unets[stage],
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
        out, teacher = self.options.out, self._teacher.whole
        students: dict[str, tuple[StageConfig, nn.Module]] = {}
        for name, (level, stage) in self.names.items():
            config = student_of(self._teacher_stage(name), self.options.least)
            student = _student(out, self.plan.of_level(level)[stage], config)
            if student is not None:
                students[name] = config, student
        provenance = {
            "data": ", ".join(slides),
            "distilled_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
            "teacher": teacher.fingerprint(),
            "weights": "running mean (EMA), half precision",
            "date": datetime.date.today().isoformat(),
        }
        distilled = with_networks(teacher, self.plan, students, provenance)
        distilled.save(out / "model", dtype=torch.float16, overwrite=True)
        say(f"{out / 'model'} (model); sample from it with: urcdm-app sample --model {out / 'model'}")
        if missing := self.names.keys() - students.keys():
            say(f"Not distilled, and as the teacher's: {', '.join(name for name in self.names if name in missing)}")

    def _teacher_stage(self, name: str) -> StageConfig:
        level, stage = self.names[name]
        return self._teacher.cascade(level).config.stages[stage]

    def _chain(self, name: str) -> tuple[int, ...]:
        """Steps of a network's students, in their order."""
        chain = students_of(_steps_of_ddim(self._teacher_stage(name).sampling), self.options.least)
        return chain[-1:] if self.options.method.value == "consistency" else chain  # which needs none on the way


def _steps_of_ddim(sampling: SamplingConfig) -> int:
    """Steps in which DDIM, which is what students learn, does as well as a stage's own solver in its own."""
    return sampling.steps * SOLVERS[sampling.method].order


def check_networks(source: str, model: Urcdm, plan: TrainingPlan) -> None:
    """Makes sure that a model's networks are those of the plan, which tells what they learn from."""
    planned = [[stage.unet for stage in plan.cascade(level).stages] for level in range(len(plan.urcdm.levels))]
    found = [[stage.unet for stage in cascade.config.stages] for cascade in model.cascades]
    config = replace(model.config, tissue=plan.urcdm.tissue)  # it says where patches are, not what networks see
    if config != plan.urcdm or found != planned:
        raise UsageError(f"--model {source}: it is not of the plan; take the plan that it was trained by, --plan")


def _student(out: Path, network: NetworkPlan, config: StageConfig) -> nn.Module | None:
    """The last student of a network, if its training has come to an end."""
    state = out / network.name / f"{config.sampling.steps}-steps" / "state.pt"
    if not state.exists():
        return None
    student, steps = load_trained(state, config)
    return student if steps == network.training.steps else None


def with_networks(
    model: Urcdm,
    plan: TrainingPlan,
    networks: Mapping[str, tuple[StageConfig, nn.Module]],
    provenance: Mapping[str, str | int | float],
) -> Urcdm:
    """The model with others in the places of some of its networks.

    Args:
        model: The model.
        plan: Its plan.
        networks: The others and their stages, by the plan's names.
        provenance: Of the new model.
    """
    cascades: dict[str, Cascade] = {}
    names = [plan.urcdm.cascade_name(level) for level in range(len(plan.urcdm.levels))]
    for level, cascade_name in enumerate(names):
        if cascade_name in cascades:
            continue
        stages, unets = list(model.cascades[level].config.stages), list(model.cascades[level].unets)
        for number, network in enumerate(plan.of_level(level)):
            if network.name in networks:
                stages[number], unets[number] = networks[network.name]
        cascades[cascade_name] = Cascade(CascadeConfig(tuple(stages)), unets)
    return Urcdm(model.config, [cascades[name] for name in names], provenance)
