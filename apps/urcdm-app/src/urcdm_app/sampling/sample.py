"""`urcdm-app sample` and `urcdm-app outpaint`: a new slide from a model."""

import importlib.util
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.progress import TaskID

import urcdm
from cdm_core import ConfigError, fetch_model
from cdm_core.stages.inference import Precision, best_precision, precision_named
from run_folder import FolderLock, UsageError
from run_folder.cli.console import progress_bars, say
from run_folder.cli.devices import resolve_device
from urcdm import CompilationError, LocalWorkers, ModelSource, RayPatchExecutor, SlideRun, Urcdm, WorkerSetup
from urcdm_app.gpus import unused_gpus
from urcdm_app.options.sampling import OutpaintOptions, SampleOptions
from urcdm_app.sampling.outputs import Outputs
from urcdm_app.sampling.report import write_report

Options = SampleOptions | OutpaintOptions


def run_sample(options: Options, load: Callable[[Path], Urcdm] = Urcdm.load) -> None:
    """Samples a slide.

    Args:
        options: The options of the command.
        load: Reads the model's folder.

    Raises:
        LockedError: Another run samples the slide.
        UsageError: A file is in the way, or an option cannot be read.
        WorkerError: There are too few workers, or they are lost again and again.
    """
    outputs = Outputs.of(options.out)
    with FolderLock(outputs.canvas, beside=True):
        outputs.refuse_existing(overwrite=options.overwrite, resume=options.resume)
        batch, folder = _batch(options.batch), fetch_model(options.model)
        with _open_workers(options) as workers:
            device, precision = workers.call_once(partial(describe_device, options.device, options.precision))
            if isinstance(workers, RayPatchExecutor):
                say(f"workers: {workers.workers}, each on {device}")
            run = _open_run(options, load(folder), outputs.canvas, precision)
            get_model = _get_model(options, run, load, workers)
            setup = WorkerSetup(get_model, partial(resolve_device, options.device), precision)
            choice = workers.call_once(
                partial(setup.choose_batches, run.settings, batch, options.compiled, workers.workers)
            )
            if count := len(choice.full):
                say(f"compiling {count} networks, each at its first batch, which then takes minutes")
            _sample(run, workers.start(partial(setup.executor, choice)), choice.size)
        _write(run, outputs, options)  # no GPU is held any more
        write_report(run, outputs, model_name=Path(options.model).name, device=device)
        run.remove_canvas()
        if run.lost_workers:
            say(f"{run.lost_workers} workers were lost on the way; others sampled their patches")
        width, height = run.settings.size_l0
        say(
            f"{outputs.slide} (slide), {outputs.preview} (preview) and {outputs.page} (report): {width} x {height} px, "
            f"seed {options.seed}"
        )


def _open_workers(options: Options) -> LocalWorkers | RayPatchExecutor:
    """Opens the workers that `--workers` and `--ray` name.

    Raises:
        UsageError: Ray is not installed, or the device is one GPU for all.
        SlideError: There is no cluster at the address.
        WorkerError: The cluster is too small.
    """
    if options.ray is None and options.workers in (None, 1):
        if (line := unused_gpus(options.device, "--workers shares the patches among them")) is not None:
            say(line)
        return LocalWorkers()
    if importlib.util.find_spec("ray") is None:
        raise UsageError("several workers, or --ray, need Ray: pip install 'urcdm-app[ray]'")
    if options.device.startswith("cuda:"):
        raise UsageError(f"--device {options.device}: each worker has a GPU to itself; give auto, cuda or cpu")
    return RayPatchExecutor(options.ray or "local", options.workers)


def describe_device(name: str, precision: str) -> tuple[str, Precision]:
    """Returns the name of the device that `--device` means in this process, and the precision to use there.

    Raises:
        UsageError: There is no such device, or no such precision.
    """
    device = resolve_device(name)
    try:
        chosen = best_precision(device) if precision == "auto" else precision_named(precision)
    except ConfigError:
        raise UsageError(f"--precision {precision}: wanted auto, fp32 or bf16") from None
    return urcdm.device_name(device), chosen


def _open_run(options: Options, model: Urcdm, canvas: Path, precision: Precision) -> SlideRun:
    if options.steps is not None and "teacher" in model.provenance:
        say("some of the model's networks are students of few steps; with other numbers of steps they sample worse")
    settings = urcdm.RunSettings(
        _size_l0(options.size, model),
        seed=options.seed,
        steps=options.steps,
        resample=options.resample,
        joint=options.joint,
        precision=precision,
    )
    return SlideRun.open(canvas, model, settings, resume=options.resume, overwrite=options.overwrite)


def _get_model(
    options: Options, run: SlideRun, load: Callable[[Path], Urcdm], workers: LocalWorkers | RayPatchExecutor
) -> Callable[[], Urcdm]:
    """Returns how workers get the model: this process has it, those of a cluster load it themselves."""
    if isinstance(workers, LocalWorkers):
        return lambda: run.model
    return ModelSource.of(options.model, load, run.fingerprint).get


def _sample(run: SlideRun, executor: urcdm.PatchExecutor, batch: dict[urcdm.StageKey, int]) -> None:
    stages: dict[tuple[str, int], TaskID] = {}
    try:
        with progress_bars(notes=True) as bars:
            for event in run.sample(executor, batch):
                key = event.level, event.image_px
                if key not in stages:
                    note = f"{event.skipped} without tissue" if event.skipped else ""
                    stages[key] = bars.add_task(f"{event.level} {event.image_px} px", total=event.total, note=note)
                bars.update(stages[key], completed=event.done)
    except CompilationError as error:
        raise UsageError(f"{error}; go on with --resume --no-compile") from None


def _write(run: SlideRun, outputs: Outputs, options: Options) -> None:
    replaces, description = options.overwrite or outputs.slide.name in run.record.files, _description(options)
    run.claim(outputs.paths)
    with progress_bars(notes=True) as bars:
        writing = bars.add_task("writing", note="")
        for event in run.write(outputs.slide, description=description, overwrite=replaces):
            bars.update(writing, completed=event.done, total=event.total)
    urcdm.write_preview(outputs.slide, outputs.preview)


def _batch(text: str) -> int | None:
    """Reads a batch size; None for 'auto'."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch {text}: wanted a number of patches from 1, or auto")
    return int(text)


def _size_l0(text: str | None, model: Urcdm) -> tuple[int, int]:
    """Reads '2048' or '2048x1536'; None is the whole field of the model's first level."""
    if text is None:
        side = int(model.config.levels[0].field_l0)
        return side, side
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(re.fullmatch(r"\s*[0-9]{1,12}\s*", part) for part in parts):
        raise UsageError(f"--size {text}: wanted a side in pixels, such as 2048, or width x height, such as 2048x1536")
    return int(parts[0]), int(parts[-1])


def _description(options: Options) -> str:
    """How the slide was made, for the file; TIFF text is ASCII, so other letters of a model's name become '?'."""
    text = (
        f"Synthetic slide, no patient. Drawn by urcdm from model '{Path(options.model).name}', seed {options.seed}, "
        f"steps {options.steps or 'as the model says'}, resample {options.resample}."
    )
    return text.encode("ascii", "replace").decode("ascii")
