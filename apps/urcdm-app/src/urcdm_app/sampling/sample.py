"""`urcdm-app sample` and `urcdm-app outpaint`: a new slide from a model."""

import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

import urcdm
from cdm_core import fetch_model
from run_folder import FolderLock
from urcdm_app.console import progress_bars, say
from urcdm_app.errors import UsageError
from urcdm_app.gpus import unused_gpus
from urcdm_app.sampling.drawing import Drawer, ThisProcess, batches_there, look_at_device, model_for, open_drawers
from urcdm_app.sampling.report import FinishedRun, is_report, write_report
from urcdm_app.sampling.run_record import RECORD, RunRecord
from urcdm_app.sampling.speed import resolve_batch


def run_sample(
    *,
    model_source: str,
    out: Path,
    size: str | None,
    seed: int,
    steps: int | None,
    resample: int,
    joint: bool,
    batch: str,
    precision: str,
    compiled: bool | None,
    device: str,
    workers: int | None,
    ray: str | None,
    overwrite: bool,
    resume: bool,
    load: Callable[[Path], urcdm.Urcdm] = urcdm.Urcdm.load,
) -> None:
    """Draws a slide; see `urcdm_app.cli.slides.sample` for the arguments, and `load` reads the model's folder.

    Raises:
        LockedError: Another run draws the slide.
        UsageError: A file is in the way, or the size, the batch or the precision cannot be read.
        WorkerError: There are not so many workers, or they are lost again and again.
    """
    if out.suffix.lower() not in (".tiff", ".tif"):
        raise UsageError(f"--out {out}: the slide is a TIFF; give a name that ends in .tiff")
    canvas_path = out.with_suffix(".canvas")
    with FolderLock(canvas_path, beside=True), ExitStack() as drawing:
        files = [out, *(out.with_suffix(suffix) for suffix in (".png", ".html", ".json"))]
        earlier = RunRecord.load(canvas_path)
        record = earlier.continued() if resume else RunRecord()
        _refuse_existing(files, earlier, overwrite=overwrite, resume=resume)
        if canvas_path.exists() and not (resume or overwrite):
            raise UsageError(f"{canvas_path} holds an unfinished run; go on with --resume, or drop it with --overwrite")
        together, folder = resolve_batch(batch), fetch_model(model_source)
        drawers = open_drawers(workers, ray, device)
        drawing.enter_context(drawers)
        unused = unused_gpus(device, "--workers shares the patches among them")
        if isinstance(drawers, ThisProcess) and unused is not None:
            say(unused)
        seat = drawers.once(partial(look_at_device, device, precision))
        if not isinstance(drawers, ThisProcess):
            say(f"workers: {drawers.workers}, each on {seat.device}")
        model = load(folder)
        if steps is not None and "teacher" in model.provenance:
            say("some of the model's networks were taught to take few steps: in others than their own they draw worse")
        settings = urcdm.RunSettings(
            _size_l0(size, model), seed=seed, steps=steps, resample=resample, joint=joint, precision=seat.precision
        )
        model.geometry(settings.size_l0)  # refuses a size that the model cannot draw
        if not resume:
            urcdm.remove_canvas(canvas_path, also=[RECORD])
        identity = settings.identity(model)
        canvas = urcdm.Canvas(canvas_path, identity, model.config)
        get_model = model_for(drawers, model, model_source, load, str(identity["model"]))
        batches = drawers.once(partial(batches_there, get_model, device, settings, together, compiled, drawers.workers))
        drawers.use(partial(Drawer, get_model, device, settings.precision, batches))
        if batches.full:
            say(
                f"compiling {len(batches.full)} networks, each when its turn comes; the first patches then take minutes"
            )
        with progress_bars() as bars:
            stages: dict[tuple[str, int], TaskID] = {}
            for event in urcdm.generate(model, canvas, drawers, settings, batch=batches.size):
                record.note(event, canvas_path)
                _show(bars, stages, event)
            drawing.close()  # no GPU is held while the slide is written
            writing, replaces = bars.add_task("writing", note=""), overwrite or out.name in record.files
            record.claim(files, canvas_path)
            started = time.monotonic()
            for done, total in urcdm.write_slide(
                model, canvas, settings, out, description=_description(model_source, settings), overwrite=replaces
            ):
                bars.update(writing, completed=done, total=total)
            writing_seconds = time.monotonic() - started
        _, preview, page, figures = files
        urcdm.write_preview(out, preview)
        run = FinishedRun(
            model=model,
            model_name=Path(model_source).name,
            identity=identity,
            settings=settings,
            canvas=canvas,
            record=record,
            batches=batches,
            device=seat.device,
            workers=drawers.workers,
            lost_workers=drawers.lost,
            writing_seconds=writing_seconds,
            slide=out,
            preview=preview,
        )
        write_report(run, page, figures)
        urcdm.remove_canvas(canvas_path, also=[RECORD])
        if drawers.lost:
            say(f"{drawers.lost} workers were lost on the way; others did their patches")
        width, height = settings.size_l0
        say(f"{out} (slide), {preview} (preview) and {page} (report): {width} x {height} px, seed {seed}")


def _refuse_existing(files: list[Path], earlier: RunRecord, *, overwrite: bool, resume: bool) -> None:
    """Refuses a run whose slide, preview, page or figures are there, unless an earlier run wrote them.

    `--overwrite` replaces the slide, which was named, and what lies beside it only if its report or the canvas of an
    interrupted run says that it belongs to a slide.
    """
    own = set(earlier.files) if overwrite or resume else set()
    if overwrite:
        own |= {files[0].name, *(file.name for file in files if is_report(files[-1], files[0].name))}
    for file in files:
        if file.is_dir() and not file.is_symlink():
            raise UsageError(f"{file} is a folder; give another --out")
        if os.path.lexists(file) and file.name not in own:
            raise UsageError(
                f"{file} exists, and no report beside it says that it belongs to a slide; give another --out"
                if overwrite
                else f"{file} exists; give another --out, or --overwrite to replace it"
            )


def _size_l0(text: str | None, model: urcdm.Urcdm) -> tuple[int, int]:
    """Reads '2048' or '2048x1536'; the whole field of the model's first level if not given."""
    if text is None:
        side = int(model.config.levels[0].field_l0)
        return side, side
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(re.fullmatch(r"\s*[0-9]{1,12}\s*", part) for part in parts):
        raise UsageError(f"--size {text}: wanted a side in pixels, such as 2048, or width x height, such as 2048x1536")
    return int(parts[0]), int(parts[-1])


def _show(bars: Progress, stages: dict[tuple[str, int], TaskID], event: urcdm.Progress) -> None:
    key = (event.level, event.image_px)
    if key not in stages:
        note = f"{event.skipped} without tissue" if event.skipped else ""
        stages[key] = bars.add_task(f"{event.level} {event.image_px} px", total=event.total, note=note)
    bars.update(stages[key], completed=event.done)


def _description(model_source: str, settings: urcdm.RunSettings) -> str:
    """How the picture was made, for the file; TIFF text is ASCII, so other letters of a model's name become '?'."""
    text = (
        f"Synthetic slide, no patient. Drawn by urcdm from model '{Path(model_source).name}', seed {settings.seed}, "
        f"steps {settings.steps or 'as the model says'}, resample {settings.resample}."
    )
    return text.encode("ascii", "replace").decode("ascii")
