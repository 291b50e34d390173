"""`urcdm-app distill`: a model that takes few steps, from one that takes many."""

import datetime
import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, fetch_model
from cdm_core.config_file import dump_config
from cdm_core.distillation import DistillationMethod, distill_stage, student_of, students_of
from cdm_core.training import check_training
from cdm_core.training_state import load_trained
from run_folder import FolderLock, RunFolder, whole_file
from urcdm import NetworkPlan, TrainingPlan, Urcdm
from urcdm_app.console import progress_bars, resolve_device, say
from urcdm_app.errors import UsageError
from urcdm_app.plan import read_plan
from urcdm_app.train import loss_note, network_examples, network_names, with_changes
from urcdm_app.training_data import open_data
from urcdm_app.training_folder import claim_training

SETTINGS = "distillation.toml"


def run_distill(
    *,
    model: str,
    tiles: Path,
    validation: Path | None,
    out: Path,
    plan_path: Path,
    least: int,
    method: DistillationMethod,
    steps: int | None,
    batch: int | None,
    only: str | None,
    device: str,
    overwrite: bool,
    resume: bool,
) -> None:
    """Distils a model; see `urcdm_app.cli.training.distill` for the arguments.

    Raises:
        LockedError: Another run is at work in the folder.
        RunFolderError: The folder holds a run, or files of others under the names of the run's.
        UsageError: The run to resume has other settings, `only` names no network, or the model is not of the plan.
        ConfigError: A network predicts noise, or takes as few steps already.
    """
    plan = with_changes(read_plan(plan_path), steps, batch)
    names = network_names(plan)
    if only is not None and only not in names:
        raise UsageError(f"--only {only}: no such network; the plan has {', '.join(names)}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: training takes auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    torch_device = resolve_device(device)
    folder = fetch_model(model)
    run = RunFolder(out, "urcdm-app distill", {}, overwrite=overwrite, resume=resume, inputs=[folder])
    teacher = Urcdm.load(folder)
    check_networks(model, teacher, plan)
    chains = {
        name: students_of(_steps_of_ddim(teacher.cascades[level].config.stages[stage].sampling), least)
        for name, (level, stage) in names.items()
    }
    if method == "consistency":  # it needs none between the teacher and the last
        chains = {name: chain[-1:] for name, chain in chains.items()}
    for level, stage in names.values():
        student_of(teacher.cascades[level].config.stages[stage], least)
    with run:  # refuses another run before slides are opened
        pass
    source = open_data(plan, tiles, validation)
    chosen = {name: where for name, where in names.items() if only in (None, name)}
    data = {name: network_examples(plan, source, *where) for name, where in chosen.items()}
    for level, stage in chosen.values():
        check_training(teacher.cascades[level].config.stages[stage], plan.of_level(level)[stage].training)
    settings = tomli_w.dumps(
        {"teacher": teacher.fingerprint(), "steps": least, "method": method, "plan": dump_config(plan)}
    )
    saved = out / SETTINGS
    with run:  # from here on each network's folder has a lock of its own: machines may share the networks out
        if run.resumed and saved.exists() and saved.read_text(encoding="utf-8") != settings:
            raise UsageError(f"{out} was started with another model, plan, --to, --method, --steps or --batch")
        folders = (f"{name}/{count}-steps" for name, chain in chains.items() for count in chain)
        claim_training(run, SETTINGS, folders, source)
        with whole_file(saved) as partial:
            partial.write_text(settings, encoding="utf-8")

    with progress_bars() as bars:
        for name, (level, stage) in chosen.items():
            training = replace(plan.of_level(level)[stage].training, loss_weight="truncated_snr")
            examples, held_out = data[name]
            task = bars.add_task(name, total=training.steps * len(chains[name]), note="")
            validation_loss: float | None = None
            for event in distill_stage(
                teacher.cascades[level].unets[stage],
                teacher.cascades[level].config.stages[stage],
                training,
                examples,
                out / name,
                steps=chains[name],
                method=method,
                validation=held_out,
                device="cpu" if torch_device.type == "cpu" else "auto",
                resume=resume,
            ):
                validation_loss = event.training.validation_loss or validation_loss
                done = chains[name].index(event.steps) * training.steps + event.training.step
                note = f"{event.steps} steps, {loss_note(event.training, validation_loss)}"
                bars.update(task, completed=done, note=note)
            bars.update(task, completed=training.steps * len(chains[name]))

    students: dict[str, tuple[StageConfig, nn.Module]] = {}
    for name, (level, stage) in names.items():
        config = student_of(teacher.cascades[level].config.stages[stage], least)
        student = _student(out, plan.of_level(level)[stage], config)
        if student is not None:
            students[name] = config, student
    provenance = {
        "data": ", ".join(source.slides),
        "distilled_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
        "teacher": teacher.fingerprint(),
        "weights": "running mean (EMA), half precision",
        "date": datetime.date.today().isoformat(),
    }
    with FolderLock(out):
        distilled = with_networks(teacher, plan, students, provenance)
        distilled.save(out / "model", dtype=torch.float16, overwrite=True)
    say(f"{out / 'model'} (model); draw from it with: urcdm-app sample --model {out / 'model'}")
    if missing := names.keys() - students.keys():
        say(f"Not distilled, and as the teacher's: {', '.join(name for name in names if name in missing)}")


def _steps_of_ddim(sampling: SamplingConfig) -> int:
    """Steps in which DDIM, which is what students learn, does as well as a stage's own solver in its own."""
    return sampling.steps * (2 if sampling.method in ("dpmpp_2m", "heun") else 1)


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
