"""Training one stage of a cascade: a resumable loop, on any number of processes, that tells what it does as events."""

import contextlib
import copy
import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from cdm_core.config import LatentUnetConfig, StageConfig, TrainingConfig
from cdm_core.devices.arithmetic import gpu_arithmetic
from cdm_core.devices.processes import PATIENCE, Interruption
from cdm_core.distillation.finishing import Finisher, FinishingConfig
from cdm_core.distillation.teacher import Teacher
from cdm_core.errors import CheckpointError, ConfigError, PeerError
from cdm_core.networks.build import build_unet, seeded_weights
from cdm_core.networks.weights import check_tensors, check_weights_finite
from cdm_core.stages.inference import (
    best_precision,
    compile_in_place,
    has_compiler,
    precision_named,
    prepare_for_sampling,
)
from cdm_core.training.examples import Examples
from cdm_core.training.guard import Guard
from cdm_core.training.log import TrainingLog, check_trackers
from cdm_core.training.prepared_examples import PreparedExamples, prepared_batches
from cdm_core.training.run import SHEET_IMAGES, Run, TrainingEvent
from cdm_core.training.state import STATE_FILE, TrainingState, check_no_run, load_state, saved_precision
from cdm_core.training.step import Gradients
from cdm_core.training.tally import Tally
from run_folder import FolderLock, LockedError, first_line

__all__ = ["Examples", "TrainingEvent", "check_training", "train_stage"]

COMPILING_PAYS_STEPS = 2000
"""Steps from which 'auto' compiles a network for a GPU, which takes it a minute or two."""


def check_training(config: StageConfig, training: TrainingConfig, *, processes: int = 1) -> None:
    """Checks that a stage can be trained so, before anything is written.

    Raises:
        ConfigError: Crops are larger than the stage, or their side is no multiple of what its network halves; a tracker
            is not installed; or the batch cannot be shared out.
    """
    if training.crop_px is not None and training.crop_px > config.image_px:
        raise ConfigError(f"crop_px {training.crop_px} is over the stage's image_px {config.image_px}")
    if (training.crop_px or 0) % config.unet.factor:
        whose = "the autoencoder's factor" if isinstance(config.unet, LatentUnetConfig) else "the network's factor"
        raise ConfigError(f"crop_px {training.crop_px} is no multiple of {whose} {config.unet.factor}; change it")
    if training.batch_size % processes:
        raise ConfigError(f"batch_size {training.batch_size} cannot be shared out evenly among {processes} processes")
    check_trackers(training.trackers)


def train_stage(
    config: StageConfig,
    training: TrainingConfig,
    examples: Examples,
    out_dir: Path,
    *,
    validation: Examples | None = None,
    device: Literal["cpu", "auto"] = "auto",
    initial: nn.Module | None = None,
    teacher: Teacher | None = None,
    finishing: FinishingConfig | None = None,
    resume: bool = False,
) -> Iterator[TrainingEvent]:
    """Trains one stage, a step each time the iterator is advanced.

    Writes into `out_dir`: `state.pt` (weights, their running mean, optimiser, step), `log.jsonl`, `samples/STEP.png`,
    and a folder for each tracker. When the iterator is closed before its end, or the process interrupted, the state is
    saved; with `resume` a later run goes on from it along the same trajectory: examples and times depend on the draw
    alone, noise on the draw and on the kind of device, see `cdm_core.training.step`. Under `accelerate launch` or
    `torchrun` every process calls this alike, with `out_dir` on a file system that all of them see; only the main one
    writes.

    On a GPU, all of the process calculates in TF32 where it calculates in float32, see `cdm_core.devices.arithmetic`,
    and with the fastest algorithms of cuDNN, until the iterator ends.

    A step whose loss or gradient is not finite is skipped. After many in a row, the weights go back to the last state
    on disk, and the data move on.

    Args:
        config: The stage.
        training: How.
        examples: The data.
        out_dir: Where to; made if missing.
        validation: Held-out data, whose loss under the running mean of the weights is measured now and then.
        device: 'auto' takes an accelerator where there is one.
        initial: Network to start from, which is not changed; fresh weights if not given.
        teacher: The model that supplies the targets, see `cdm_core.distillation.teacher`; its network is not changed.
        finishing: How a student is finished on real images, see `cdm_core.distillation.finishing`; `initial` is then
            the student, and `training.loss_weight` plays no part.
        resume: Go on from `out_dir/state.pt` if it is there. Without it, a folder that holds a run is refused.

    Yields:
        An event a step.

    Raises:
        ConfigError: See `check_training`.
        ValueError: An example lacks something that the stage takes, or has it in another type, shape or range. The
            examples of the first step, of the last draw and of the sheets are checked before anything is trained.
        CheckpointError: The folder holds a run and `resume` is not set, another process trains in it, or it cannot be
            written; the state cannot be read or is of another stage or configuration; `initial` does not fit.
        TrainingError: The device's memory is too small, or many steps had no finite loss or gradient and going back did
            not help; `PeerError`, one of them, if another process of the run could not start.
        KeyboardInterrupt: Ctrl-C; with several processes, after a step that all of them have done.
    """
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",  # with accelerate a process has one precision for good; here each run has its own
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
        ],
    )
    path = out_dir / STATE_FILE
    _release_memory(accelerator.device)
    with contextlib.ExitStack() as held:
        if accelerator.device.type == "cuda":
            held.enter_context(gpu_arithmetic("tf32", fixed_shapes=True))
        try:
            check_training(config, training, processes=accelerator.num_processes)
            if accelerator.is_main_process:
                _claim(out_dir, training, held, resume=resume)
            if teacher is not None and finishing is not None:
                raise ConfigError("a student learns from a teacher or is finished, not both; finish it afterwards")
            resumed = resume and path.exists()
            training = _resolved(training, accelerator.device, path if resumed else None)
            state = _new_state(config, training, initial, accelerator.device, finishing)
            if resumed:
                load_state(path, state, config, training)
            prepared = PreparedExamples(config, training, examples)
            _check_examples(prepared, validation, state.step, accelerator)
        except Exception:
            _agree_on_step(accelerator, None, out_dir)  # else the other processes would wait for this one
            raise
        first, share = state.step, training.batch_size // accelerator.num_processes
        _agree_on_step(accelerator, first, out_dir)
        starts = (
            step * training.batch_size + accelerator.process_index * share for step in range(first, training.steps)
        )
        draws = (list(range(start, start + share)) for start in starts)
        if teacher is not None:
            teacher = _at_work(teacher, accelerator.device, training)
        network = accelerator.prepare_model(state.unet)
        gradients = Gradients(accelerator, network, config, training, share, teacher, state.finisher)
        saved_step = first if resumed else None
        guard = Guard(path, state, config, training, saved_step=saved_step, writes=accelerator.is_main_process)
        with (
            Interruption(accelerator, training.log_every) as interruption,
            TrainingLog(out_dir, first, training.batch_size, accelerator, training.trackers) as log,
        ):
            run = Run(prepared, validation, accelerator, state, gradients, guard, log)
            try:
                for batch in prepared_batches(prepared, draws, accelerator.device):
                    run.step(batch)
                    event = run.look()
                    interruption.check(event.step)
                    yield event
            finally:
                guard.save_at_exit()


def _claim(out_dir: Path, training: TrainingConfig, held: contextlib.ExitStack, *, resume: bool) -> None:
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


def _check_examples(
    prepared: PreparedExamples, validation: Examples | None, step: int, accelerator: Accelerator
) -> None:
    """Checks this process's examples of the next step, and whether there are all that the run will ask for.

    What is wrong with the data is told here, not late or by a worker process.
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


def _resolved(training: TrainingConfig, device: torch.device, state: Path | None) -> TrainingConfig:
    """Returns the settings with what 'auto' stands for; a run that goes on from a state keeps its precision."""
    precision, compiles = training.precision, training.compile
    if precision == "auto":
        precision = best_precision(device) if state is None else saved_precision(state)
    if compiles == "auto":
        compiles = device.type == "cuda" and training.steps >= COMPILING_PAYS_STEPS and has_compiler()
    return replace(training, precision=precision, compile=compiles)


def _release_memory(device: torch.device) -> None:
    """Gives back what a network trained before held: compiled ones stay until Python looks for them."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _new_state(
    config: StageConfig,
    training: TrainingConfig,
    initial: nn.Module | None,
    device: torch.device,
    finishing: FinishingConfig | None,
) -> TrainingState:
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


def _at_work(teacher: Teacher, device: torch.device, training: TrainingConfig) -> Teacher:
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
    _freeze_unused(unet, config)


def _lay_out(unet: nn.Module) -> None:
    """Lays the weights of convolutions out in memory with the channels last, which makes them faster.

    Where this would change nothing but how strides are written down, it is left: gradients are written down otherwise,
    and processes would copy them for that.
    """
    for parameter in unet.parameters():
        if parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:].numel() > 1:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _freeze_unused(unet: nn.Module, config: StageConfig) -> None:
    """Freezes the autoencoder, and what imagen-pytorch's U-Net has for embeddings, in a stage that takes none.

    These weights would get no gradient, and processes that share a step wait for the gradient of every weight.
    """
    if isinstance(config.unet, LatentUnetConfig):
        unet.get_submodule("autoencoder").requires_grad_(False).eval()
        return
    if config.unet.text_embed_dim is None:
        for name, parameter in unet.named_parameters():
            if name.startswith(("attn_pool.", "null_text_")):
                parameter.requires_grad_(False)


def _agree_on_step(accelerator: Accelerator, step: int | None, out_dir: Path) -> None:
    """Makes sure that all processes begin with the same step; None says that this one cannot begin."""
    told = torch.tensor([-1 if step is None else step], device=accelerator.device)
    steps = accelerator.gather(told).tolist()
    if step is None:
        return
    if -1 in steps:
        raise PeerError(f"{out_dir}: process {steps.index(-1)} cannot begin; see its message")
    if len(set(steps)) > 1:
        raise CheckpointError(f"{out_dir}: processes see states of steps {steps}; all must see the same file system")
