"""`urcdm-app finish`: a model's students trained on against discriminators on real images."""

import datetime
import importlib.metadata
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import nn

from cdm_core import StageConfig, fetch_model
from cdm_core.config_file import dump_config
from cdm_core.training import check_training, train_stage
from cdm_core.training_state import load_trained
from run_folder import FolderLock, RunFolder, whole_file
from urcdm import NetworkPlan, TrainingPlan, Urcdm
from urcdm_app.console import progress_bars, resolve_device, say
from urcdm_app.distill import check_networks, with_networks
from urcdm_app.errors import UsageError
from urcdm_app.plan import read_plan
from urcdm_app.train import loss_note, network_examples, network_names
from urcdm_app.training_data import open_data
from urcdm_app.training_folder import claim_training

SETTINGS = "finishing.toml"


def run_finish(
    *,
    model: str,
    tiles: Path,
    validation: Path | None,
    out: Path,
    plan_path: Path,
    steps: int | None,
    batch: int | None,
    only: str | None,
    device: str,
    overwrite: bool,
    resume: bool,
) -> None:
    """Finishes a model; see `urcdm_app.cli.training.finish` for the arguments.

    Raises:
        LockedError: Another run is at work in the folder.
        RunFolderError: The folder holds a run, or files of others under the names of the run's.
        UsageError: The run to resume has other settings, `only` names no network, or the model is not of the plan.
        ConfigError: No network of the model is a student.
    """
    plan = _with_changes(read_plan(plan_path), steps, batch)
    names = network_names(plan)
    if only is not None and only not in names:
        raise UsageError(f"--only {only}: no such network; the plan has {', '.join(names)}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: training takes auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    torch_device = resolve_device(device)
    folder = fetch_model(model)
    run = RunFolder(out, "urcdm-app finish", {}, overwrite=overwrite, resume=resume, inputs=[folder])
    students = Urcdm.load(folder)
    check_networks(model, students, plan)
    chosen = {
        name: (level, stage)
        for name, (level, stage) in names.items()
        if name == only or (only is None and _is_to_finish(students, plan, level, stage))
    }
    if not chosen:
        raise UsageError(
            f"--model {model}: none of its networks is a student; make students with: urcdm-app distill, or set "
            "finishing.steps in the plan"
        )
    stages = {name: _to_finish(students, plan, level, stage) for name, (level, stage) in chosen.items()}
    for name, (level, stage) in chosen.items():
        check_training(stages[name], plan.of_level(level)[stage].finishing.training)
    with run:  # refuses another run before slides are opened
        pass
    source = open_data(plan, tiles, validation)
    data = {name: network_examples(plan, source, *where) for name, where in chosen.items()}
    settings = tomli_w.dumps({"model": students.fingerprint(), "plan": dump_config(plan)})
    saved = out / SETTINGS
    with run:  # from here on each network's folder has a lock of its own: machines may share the networks out
        if run.resumed and saved.exists() and saved.read_text(encoding="utf-8") != settings:
            raise UsageError(f"{out} was started with another model, plan, --steps or --batch; use the same")
        claim_training(run, SETTINGS, names, source)
        with whole_file(saved) as partial:
            partial.write_text(settings, encoding="utf-8")

    with progress_bars() as bars:
        for name, (level, stage) in chosen.items():
            finishing = plan.of_level(level)[stage].finishing
            examples, held_out = data[name]
            task = bars.add_task(name, total=finishing.training.steps, note="")
            for event in train_stage(
                stages[name],
                finishing.training,
                examples,
                out / name,
                validation=held_out,
                device="cpu" if torch_device.type == "cpu" else "auto",
                initial=students.cascades[level].unets[stage],
                finishing=finishing.losses,
                resume=resume,
            ):
                bars.update(task, completed=event.step, note=loss_note(event, event.validation_loss))
            bars.update(task, completed=finishing.training.steps)

    finished = {
        name: network
        for name, (level, stage) in names.items()
        if (network := _finished(out / name, students, plan, level, stage)) is not None
    }
    provenance = {
        "data": ", ".join(source.slides),
        "finished_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
        "finished": ", ".join(finished),
        "teacher": students.provenance.get("teacher", ""),
        "students": students.fingerprint(),
        "weights": "running mean (EMA), half precision",
        "date": datetime.date.today().isoformat(),
    }
    with FolderLock(out):
        model_out = with_networks(students, plan, finished, provenance)
        model_out.save(out / "model", dtype=torch.float16, overwrite=True)
    say(f"{out / 'model'} (model); draw from it with: urcdm-app sample --model {out / 'model'}")
    if missing := [name for name in names if name not in finished]:
        say(f"Not finished, and as they were: {', '.join(missing)}")


def _with_changes(plan: TrainingPlan, steps: int | None, batch: int | None) -> TrainingPlan:
    """The plan with other numbers of steps or images a step of finishing."""

    def changed(network: NetworkPlan) -> NetworkPlan:
        training = network.finishing.training
        training = replace(training, steps=steps or training.steps, batch_size=batch or training.batch_size)
        return replace(network, finishing=replace(network.finishing, training=training))

    return replace(plan, networks=tuple(changed(network) for network in plan.networks))


def _to_finish(model: Urcdm, plan: TrainingPlan, level: int, stage: int) -> StageConfig:
    """The stage of a model as it is finished."""
    return plan.of_level(level)[stage].finishing.student(model.cascades[level].config.stages[stage])


def _is_to_finish(model: Urcdm, plan: TrainingPlan, level: int, stage: int) -> bool:
    """Whether the plan names the steps of a network, or it is sampled as students are."""
    sampling = model.cascades[level].config.stages[stage].sampling
    named = plan.of_level(level)[stage].finishing.steps is not None
    return named or (sampling.method == "ddim" and not sampling.eta)


def _finished(
    run: Path, model: Urcdm, plan: TrainingPlan, level: int, stage: int
) -> tuple[StageConfig, nn.Module] | None:
    """The stage and the network that were finished, if its training has come to an end."""
    state = run / "state.pt"
    if not state.exists():
        return None
    config, finishing = _to_finish(model, plan, level, stage), plan.of_level(level)[stage].finishing
    unet, steps = load_trained(state, config)
    if steps < finishing.training.steps:
        return None
    return config, finishing.merged(model.cascades[level].unets[stage], unet)
