"""`urcdm-app train`: the networks of a model, one after the other, and the model from them."""

import datetime
import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w
import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, UnetConfig, fetch_model
from cdm_core.config import NetworkConfig
from cdm_core.config_file import dump_config
from cdm_core.examples import Examples
from cdm_core.latent import latent_network
from cdm_core.training import TrainingEvent, check_training, train_stage
from cdm_core.training_state import load_trained
from cdm_core.widen import with_final_residual
from run_folder import FolderLock, RunFolder, whole_file
from urcdm import NetworkPlan, TrainingPlan, Urcdm
from urcdm.examples import InTurn
from urcdm_app.console import progress_bars, resolve_device, say
from urcdm_app.errors import UsageError
from urcdm_app.plan import read_plan
from urcdm_app.training_data import TrainingData, open_data
from urcdm_app.training_folder import claim_training

PLAN_FILE = "plan.toml"


def run_train(
    *,
    tiles: Path,
    validation: Path | None,
    out: Path,
    plan_path: Path,
    steps: int | None,
    batch: int | None,
    only: str | None,
    start_from: str | None,
    device: str,
    overwrite: bool,
    resume: bool,
) -> None:
    """Trains a model; see `urcdm_app.cli.training.train` for the arguments.

    Under `accelerate launch` every process runs this; the main one alone looks after files and tells of progress.

    Raises:
        LockedError: Another run is at work in the folder.
        RunFolderError: The folder holds a run, or files of others under the names of the run's.
        UsageError: The run to resume is of another plan, `only` names no network, `start_from` has others, or a slide
            is both to train and to validate on.
    """
    main = os.environ.get("RANK", "0") == "0"
    plan = with_changes(read_plan(plan_path), steps, batch)
    if only is not None and only not in network_names(plan):
        raise UsageError(f"--only {only}: no such network; the plan has {', '.join(network_names(plan))}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: training takes auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    torch_device = resolve_device(device)
    inputs = [] if start_from is None else [start_from]  # a repository's id is no file here, and does no harm
    run = RunFolder(out, "urcdm-app train", {}, overwrite=overwrite, resume=resume, inputs=inputs)
    saved_plan = out / PLAN_FILE
    if main:
        with run:  # refuses another run before slides are opened
            if run.resumed and saved_plan.exists() and read_plan(saved_plan) != plan:
                raise UsageError(
                    f"{out} was started with another plan, --steps or --batch; go on with --resume --plan {saved_plan}"
                )
    networks = [(name, *where) for name, where in network_names(plan).items()]
    source = open_data(plan, tiles, validation)
    start = _start(start_from, plan) if start_from is not None else None
    chosen = [network for network in networks if only in (None, network[0])]
    data: dict[str, tuple[Examples, Examples | None]] = {}
    for name, level, stage in chosen:
        network = plan.of_level(level)[stage]
        check_training(network.stage, network.training, processes=int(os.environ.get("WORLD_SIZE", "1")))
        data[name] = network_examples(plan, source, level, stage)
    if main:
        with run:  # from here on each network's folder has a lock of its own: machines may share the networks out
            claim_training(run, PLAN_FILE, network_names(plan), source)
            with whole_file(saved_plan) as partial:
                partial.write_text(tomli_w.dumps(dump_config(plan)), encoding="utf-8")

    with progress_bars(shown=main) as bars:
        for name, level, stage in chosen:
            network = plan.of_level(level)[stage]
            examples, held_out_examples = data[name]
            task = bars.add_task(name, total=network.training.steps, note="")
            validation_loss: float | None = None
            fresh = not (resume and (out / name / "state.pt").exists())
            for event in train_stage(
                network.stage,
                network.training,
                examples,
                out / name,
                validation=held_out_examples,
                device="cpu" if torch_device.type == "cpu" else "auto",
                initial=_initial(start, network, level, stage) if fresh else None,
                resume=resume,
            ):
                validation_loss = validation_loss if event.validation_loss is None else event.validation_loss
                bars.update(task, completed=event.step, note=loss_note(event, validation_loss))
            bars.update(task, completed=network.training.steps)

    if not main:
        return
    missing = [name for name, *_ in networks if not (out / name / "state.pt").exists()]
    if missing:
        say(f"{out}: still to train before there is a model: {', '.join(missing)}")
        return
    with FolderLock(out):
        _assemble(plan, out, source.slides).save(out / "model", dtype=torch.float16, overwrite=True)
    say(f"{out / 'model'} (model); draw from it with: urcdm-app sample --model {out / 'model'}")


def network_examples(
    plan: TrainingPlan, source: TrainingData, level: int, stage: int
) -> tuple[Examples, Examples | None]:
    """The examples of a network, to train on and to measure the loss on; of all levels that share it."""
    seed = plan.of_level(level)[stage].training.seed
    if not plan.urcdm.shares(level):
        return source.examples(level, stage, seed)
    parts = [source.examples(each, stage, seed) for each in range(1, len(plan.urcdm.levels))]
    held_out = [part for _, part in parts if part is not None]
    return InTurn([part for part, _ in parts]), InTurn(held_out) if held_out else None


def loss_note(event: TrainingEvent, validation_loss: float | None) -> str:
    """What stands beside a progress bar."""
    parts = [f"loss {event.loss:.4f}"]
    if validation_loss is not None:
        parts.append(f"validation {validation_loss:.4f}")
    if event.skipped:
        parts.append(f"{event.skipped} skipped")
    if event.restored:
        parts.append(f"went back {event.restored} x")
    return ", ".join(parts)


def _initial(start: Urcdm | None, network: NetworkPlan, level: int, stage: int) -> nn.Module | None:
    """The weights that a network starts from: a model's, those of a model in diffusers' form, or fresh ones."""
    if start is not None:
        return start.cascades[level].unets[stage]
    return None if network.diffusers is None else latent_network(network.diffusers, network.stage)


def _start(source: str, plan: TrainingPlan) -> Urcdm:
    """The model to start from, whose networks must be the plan's, but for a final residual, which they are given."""
    model = Urcdm.load(fetch_model(source))
    planned = [[stage.unet for stage in plan.cascade(level).stages] for level in range(len(plan.urcdm.levels))]
    cascades = list(model.cascades)
    for level, unets in enumerate(planned[: len(cascades)]):
        cascades[level] = _with_planned_residuals(cascades[level], unets)
    if [[stage.unet for stage in cascade.config.stages] for cascade in cascades] != planned:
        raise UsageError(
            f"--from {source}: its networks are not those of the plan; take the plan that it was trained by"
        )
    return Urcdm(model.config, cascades, model.provenance)


def _with_planned_residuals(cascade: Cascade, planned: Sequence[NetworkConfig]) -> Cascade:
    """A cascade whose networks have the final residual where the planned ones have."""
    networks = list(zip(cascade.config.stages, cascade.unets, strict=True))
    for i, unet in enumerate(planned[: len(networks)]):
        if isinstance(unet, UnetConfig) and unet.init_conv_to_final_conv_residual:
            networks[i] = with_final_residual(*networks[i])
    stages, unets = zip(*networks, strict=True)
    return Cascade(CascadeConfig(stages), unets, cascade.provenance)


def network_names(plan: TrainingPlan) -> dict[str, tuple[int, int]]:
    """The networks' names, such as 'low-32', with the numbers of their level and stage."""
    return {
        network.name: (level, stage)
        for level in range(len(plan.urcdm.levels))
        for stage, network in enumerate(plan.of_level(level))
    }


def with_changes(plan: TrainingPlan, steps: int | None, batch: int | None) -> TrainingPlan:
    """The plan with other numbers of steps or images a step."""

    def changed(network: NetworkPlan) -> NetworkPlan:
        training = network.training
        training = replace(training, steps=steps or training.steps, batch_size=batch or training.batch_size)
        return replace(network, training=training)

    return replace(plan, networks=tuple(changed(network) for network in plan.networks))


def _assemble(plan: TrainingPlan, out: Path, slides: list[str]) -> Urcdm:
    cascades: dict[str, Cascade] = {}
    steps = []
    names = [plan.urcdm.cascade_name(level) for level in range(len(plan.urcdm.levels))]
    for level, cascade_name in enumerate(names):
        if cascade_name in cascades:
            continue
        unets = []
        for network in plan.of_level(level):
            unet, done = load_trained(out / network.name / "state.pt", network.stage)
            unets.append(unet)
            steps.append(f"{network.name} {done} x {network.training.batch_size}")
        cascades[cascade_name] = Cascade(plan.cascade(level), unets)
    provenance = {
        "data": ", ".join(slides),
        "trained_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
        "steps": "; ".join(steps),
        "weights": "running mean (EMA), half precision",
        "date": datetime.date.today().isoformat(),
    }
    return Urcdm(plan.urcdm, [cascades[name] for name in names], provenance)
