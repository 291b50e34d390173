"""Setting up a training: checks, locks, values for 'auto', networks."""

import contextlib
import copy
import gc
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.distillation.finishing import Finisher, FinishingConfig
from cdm_core.distillation.teacher import Teacher
from cdm_core.errors import CheckpointError, ConfigError, PeerError
from cdm_core.networks.weights import check_tensors, check_weights_finite, seeded_weights
from cdm_core.stages.build import build_unet
from cdm_core.stages.examples import Examples
from cdm_core.stages.inference import (
    best_precision,
    compile_in_place,
    has_compiler,
    precision_named,
    prepare_for_sampling,
)
from cdm_core.stages.pictures import SHEET_IMAGES
from cdm_core.training.log import check_trackers
from cdm_core.training.prepared_examples import PreparedExamples
from cdm_core.training.state import TrainingState, check_no_run, saved_precision
from cdm_core.training.tally import Tally
from run_folder import FolderLock, LockedError, first_line

COMPILING_PAYS_STEPS = 2000
"""Steps from which 'auto' compiles a network for a GPU, which takes it a minute or two."""


def claim(out_dir: Path, training: TrainingConfig, held: contextlib.ExitStack, *, resume: bool) -> None:
    """Locks the folder of a run, and makes sure that the run may write into it."""
    try:
        held.enter_context(FolderLock(out_dir))
    except LockedError as error:
        raise CheckpointError(first_line(error)) from None
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise CheckpointError(f"{out_dir}: cannot be written ({reason}); use another folder") from None
    if not resume:
        check_no_run(out_dir)
    for name in ("samples", *training.trackers):
        if (out_dir / name).exists() and not (out_dir / name).is_dir():
            raise CheckpointError(f"{out_dir / name}: is a file, wanted a folder; remove it, or use another folder")


def check_examples(
    prepared: PreparedExamples, validation: Examples | None, step: int, accelerator: Accelerator
) -> None:
    """Checks this process's examples of the next step, and whether there are all that the run will ask for.

    Faults of the data are reported here, not late or by a worker process.
    """
    training, count = prepared.training, accelerator.num_processes
    if step >= training.steps:
        return
    share = training.batch_size // count
    start = step * training.batch_size + accelerator.process_index * share
    # a run that goes on may have come to examples that are not finite, which it skips
    prepared.check(range(start, start + share), finite=step == 0)
    prepared.check({*range(SHEET_IMAGES), training.steps * training.batch_size - 1}, finite=False)
    if validation is not None:
        images = training.validation_images
        held_out = PreparedExamples(prepared.config, training, validation, held_out=images)
        held_out.check(range(min(share, images)), finite=step == 0)
        held_out.check([images - 1], finite=False)


def resolved(training: TrainingConfig, device: torch.device, state: Path | None) -> TrainingConfig:
    """Returns the settings with what 'auto' stands for; a run that goes on from a state keeps its precision."""
    precision, compiles = training.precision, training.compile
    if precision == "auto":
        precision = best_precision(device) if state is None else saved_precision(state)
    if compiles == "auto":
        compiles = device.type == "cuda" and training.steps >= COMPILING_PAYS_STEPS and has_compiler()
    return replace(training, precision=precision, compile=compiles)


def release_memory(device: torch.device) -> None:
    """Gives back what a network trained before held: compiled ones stay until Python looks for them."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def new_state(
    config: StageConfig,
    training: TrainingConfig,
    initial: nn.Module | None,
    device: torch.device,
    finishing: FinishingConfig | None,
) -> TrainingState:
    """Returns the state that a run begins with: network, running mean, optimiser and counts, on the device."""
    finisher = None if finishing is None else Finisher.of(config, finishing, training.seed, device)
    with seeded_weights(training.seed):
        unet = build_unet(config) if initial is None else copy.deepcopy(_initial(config, initial))
    make_trainable(unet.to(device), config)
    ema = AveragedModel(unet).to(device)
    ema.eval().requires_grad_(False)
    if training.compile:
        compile_in_place(unet)
    optimiser = torch.optim.AdamW(
        unet.parameters(),
        lr=training.learning_rate,
        betas=(0.9 if finishing is None else 0.5, 0.99),  # an opponent that learns makes old directions wrong
        weight_decay=training.weight_decay,
        fused=True,
    )
    return TrainingState(unet, ema, optimiser, Tally(device), finisher=finisher)


def _initial(config: StageConfig, network: nn.Module) -> nn.Module:
    """Returns the network to start from, out of what it may be wrapped in, if it is the stage's."""
    while hasattr(network, "_orig_mod") or isinstance(network, nn.DataParallel | DistributedDataParallel):
        network = network.get_submodule("_orig_mod" if hasattr(network, "_orig_mod") else "module")
    with torch.device("meta"):
        wanted = build_unet(config)
    source = f"initial: the network for the stage of {config.image_px} px"
    weights = network.state_dict()
    check_tensors(wanted, weights, source)
    check_weights_finite(weights, source)
    return network


def teacher_at_work(teacher: Teacher, device: torch.device, training: TrainingConfig) -> Teacher:
    """Returns a teacher with a copy of its network that is ready to sample on the device."""
    unet, precision = copy.deepcopy(teacher.unet).to(device), precision_named(training.precision)
    return replace(teacher, unet=prepare_for_sampling(unet, precision=precision, compiled=training.compile is True))


def make_trainable(unet: nn.Module, config: StageConfig) -> None:
    """Makes a network ready to train, in place: its mode, which weights get gradients, and how they lie in memory.

    Args:
        unet: As of `build_unet`, on the device to use.
        config: Its stage.
    """
    unet.train().requires_grad_(True)
    _lay_out(unet)
    config.unet.freeze_unused(unet)


def _lay_out(unet: nn.Module) -> None:
    """Lays the weights of convolutions out in memory with the channels last, which makes them faster.

    Where only the notation of strides would change, they are left: gradients would have other strides, and processes
    would copy them for that.
    """
    for parameter in unet.parameters():
        if parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:].numel() > 1:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def agree_on_step(accelerator: Accelerator, step: int | None, out_dir: Path) -> None:
    """Makes sure that all processes begin with the same step; None if this one cannot begin."""
    own = torch.tensor([-1 if step is None else step], device=accelerator.device)
    steps = accelerator.gather(own).tolist()
    if step is None:
        return
    if -1 in steps:
        raise PeerError(f"{out_dir}: process {steps.index(-1)} cannot begin; see its message")
    if len(set(steps)) > 1:
        raise CheckpointError(f"{out_dir}: processes see states of steps {steps}; all must see the same file system")


def check_training(config: StageConfig, training: TrainingConfig, *, processes: int = 1) -> None:
    """Checks that a stage can be trained so, before anything is written.

    Raises:
        ConfigError: Crops are larger than the stage, or their side is no multiple of what its network halves; a tracker
            is not installed; or the batch cannot be shared out.
    """
    if training.crop_px is not None and training.crop_px > config.image_px:
        raise ConfigError(f"crop_px {training.crop_px} is over the stage's image_px {config.image_px}")
    if (training.crop_px or 0) % config.unet.factor:
        whose = "the autoencoder's factor" if config.unet.in_latents else "the network's factor"
        raise ConfigError(f"crop_px {training.crop_px} is no multiple of {whose} {config.unet.factor}; change it")
    if training.batch_size % processes:
        raise ConfigError(f"batch_size {training.batch_size} cannot be shared out evenly among {processes} processes")
    check_trackers(training.trackers)
