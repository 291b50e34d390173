"""`enrich-app run`: runs the steps of an enrichment, or shows the remaining ones."""

import os
import sys
from pathlib import Path

from cdm_core.devices.arithmetic import set_fp32
from enrich_app.report import write_report
from enrich_app.table_text import show_table
from maskcond.enrichment import (
    EnrichmentRun,
    State,
    TrainedModels,
    estimate,
    free_bytes,
    read_enrichment_config,
)
from run_folder import UsageError
from run_folder.cli.console import progress_bars, say, say_columns
from run_folder.cli.devices import resolve_device

REPORT = "report.html"


def run_enrichment(*, config_path: Path, folder: Path, device: str, overwrite: bool) -> None:
    """Runs the remaining steps, shows the table and writes the report; see `enrich_app.cli.run` for the arguments.

    Raises:
        MaskcondError, ConfigError, UsageError: The configuration, an input or an option is invalid.
        LockedError: Another process works on the run.
        RunFolderError: A file of the run exists already, and the run did not write it.
    """
    _refuse_launcher()
    run = _open(config_path, folder, device)
    for note in run.inputs.real.notes:
        say(note)
    kept, current = 0, None
    with progress_bars(notes=True) as bars:
        for event in run.carry_out(overwrite=overwrite, files=(REPORT,)):
            if event.kept:
                kept += 1
                continue
            if current is None or current[0] != event.step.name:
                current = (event.step.name, bars.add_task(event.step.name, total=event.progress.total, note=""))
            bars.update(current[1], total=event.progress.total, completed=event.progress.done, note=event.progress.note)
    if kept:
        say(f"{kept} steps were already done")
    show_table(folder)
    write_report(folder, folder / REPORT)
    say(f"{folder / REPORT} (report), {folder / 'table' / 'table.json'} (its table)")


def show_plan(*, config_path: Path, folder: Path, device: str) -> None:
    """Shows each step with its state and its remaining time and disk space; runs nothing."""
    estimates = estimate(_open(config_path, folder, device).run.status())
    rows = [["step", "what it does", "state", "time left", "disk"]]
    for step in estimates:
        status = step.status
        done = status.state is State.DONE
        state = f"{status.state.value}: {status.reason}" if status.reason else status.state.value
        if status.state is State.BEGUN and status.record is not None:
            state = f"{status.record.units:,} of {status.step.units:,}"
        left = ("", "") if done else (_time(step.seconds), _size(step.bytes))
        rows.append([status.step.name, status.step.about, state, *left])
    say_columns(rows)
    todo = [step for step in estimates if step.status.state is not State.DONE]
    if not todo:
        say("all steps are done")
        return
    known = [step.seconds for step in todo if step.seconds is not None]
    unknown = len(todo) - len(known)
    time = _time(sum(known)) + (f", plus {unknown} steps of kinds that have not run yet" if unknown else "")
    say(f"time left: {time if known else 'unknown: no step of these kinds has run yet'}")
    size = sum(step.bytes for step in todo if step.bytes is not None)
    unsized = sum(step.bytes is None for step in todo)
    more = f", plus {unsized} steps of unknown size" if unsized else ""
    say(f"disk: about {_size(size)}{more}; free: {_size(free_bytes(folder))}")
    if any(step.status.state is State.CHANGED for step in todo):
        say("steps that have changed are repeated with --overwrite only")


def _refuse_launcher() -> None:
    """Refuses several processes of `accelerate launch` or `torchrun`, because the steps run in a single process.

    Raises:
        UsageError: There are several processes, and this is the first; the others exit.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return
    if os.environ.get("RANK", "0") != "0":
        sys.exit(1)
    raise UsageError(f"a launcher started {processes} processes, wanted one; start enrich-app without a launcher")


def _open(config_path: Path, folder: Path, device: str) -> EnrichmentRun:
    """Opens a run; on a GPU, the process computes in IEEE float32 from then on, as on a CPU, except in training."""
    config = read_enrichment_config(config_path)
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: wanted auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    chosen = resolve_device(device)
    if chosen.type == "cuda":
        set_fp32("ieee")
    return EnrichmentRun(config, folder, TrainedModels(config, chosen))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    size, units = float(count), ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
