"""`enrich-app run`: the steps of an enrichment, and what is left of them."""

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
    """Does all that is not done, shows the table and writes the report; see `enrich_app.cli.run` for the arguments.

    Raises:
        MaskcondError, ConfigError, UsageError: What cannot be done, in one line.
        LockedError: Another process works on the run.
        RunFolderError: The folder has a file that the run did not write under the name of one of its own.
    """
    _refuse_launcher()
    run = _open(config_path, folder, device)
    for note in run.real.notes:
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
        say(f"{kept} steps were done before")
    show_table(folder)
    write_report(folder, folder / REPORT)
    say(f"{folder / REPORT} (report), {folder / 'table' / 'table.json'} (its table)")


def show_plan(*, config_path: Path, folder: Path, device: str) -> None:
    """Shows each step, how far it is, and what it still takes; does nothing."""
    estimates = estimate(_open(config_path, folder, device).run.status())
    rows = [["step", "what it does", "state", "time left", "disk"]]
    for each in estimates:
        done = each.status.state is State.DONE
        state = f"{each.status.state.value}: {each.status.reason}" if each.status.reason else each.status.state.value
        if each.status.state is State.BEGUN and each.status.record is not None:
            state = f"{each.status.record.units:,} of {each.status.step.units:,}"
        left = ("", "") if done else (_time(each.seconds), _size(each.bytes))
        rows.append([each.status.step.name, each.status.step.about, state, *left])
    say_columns(rows)
    todo = [each for each in estimates if each.status.state is not State.DONE]
    if not todo:
        say("all is done")
        return
    known = [each.seconds for each in todo if each.seconds is not None]
    unknown = len(todo) - len(known)
    time = _time(sum(known)) + (f" and {unknown} steps of which none like them has run yet" if unknown else "")
    say(f"time left: {time if known else 'unknown: no step of these kinds has run yet'}")
    size = sum(each.bytes for each in todo if each.bytes is not None)
    unsized = sum(each.bytes is None for each in todo)
    more = f" and what {unsized} steps leave whose size is not known yet" if unsized else ""
    say(f"disk: about {_size(size)}{more}; free: {_size(free_bytes(folder))}")
    if any(each.status.state is State.CHANGED for each in todo):
        say("steps that have changed are done again with --overwrite only")


def _refuse_launcher() -> None:
    """Ends all processes of `accelerate launch` or `torchrun` with one line: steps follow one another in one process.

    Raises:
        UsageError: There are several; in the first of them.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return
    if os.environ.get("RANK", "0") != "0":
        sys.exit(1)
    raise UsageError(f"a launcher started {processes} processes; enrich-app is one: start it without a launcher")


def _open(config_path: Path, folder: Path, device: str) -> EnrichmentRun:
    """Opens a run; on a GPU, this process calculates in IEEE float32 from then on, as on a CPU, but in training."""
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
