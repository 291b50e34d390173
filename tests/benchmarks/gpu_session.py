"""All that a GPU is needed for, in ten minutes: does every path run, how fast is it, and training in the rest.

    uv run python tests/benchmarks/gpu_session.py OUT [--slide SLIDE] [--minutes 10] [--only PART ...] [--smoke]

Parts, in this order, each a process with a time limit of its own:

    paths     every path of the method once, in small (`device_paths.py`)
    sampling  images a second of the study's networks by batch and precision, compiled and not, against the study's way
              (`cuda_speed.py --only sampling`)
    training  the same for training steps (`cuda_speed.py --only training`)
    students  students of four steps, and what they take for a slide of 40,000 px (`cuda_students.py`)
    host      what a patch takes beside its networks (`whole_slide.py`)
    teacher   the built-in model's networks, trained on SLIDE until the time is over; all at once, as each is too small
              for a GPU

OUT/session.json has the figures, OUT/session.md the tables, OUT/teacher/NETWORK.safetensors the running mean of the
weights. Call it again with the same OUT to resume: parts that are done are not run again, and training continues. On
Ctrl-C or SIGTERM it ends the processes that it has started, and on Linux they end if it is killed; a training saves its
state. With `--smoke` it runs whole, in small, on the CPU, and trains the first two networks only.
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from cdm_core.training.state import load_trained
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin

HERE = Path(__file__).parent
NETWORKS = {"low-32": (0, 0), "low-128": (0, 1), "medium-128": (1, 0), "high-128": (2, 0)}
"""Of the built-in plan: level, and stage of its cascade."""
RESERVED_S = 20
"""Kept of the time for the last files."""
GRACE_S = 30
"""From asking a process to end until it is killed; a training saves its state."""
STUDY_PATCHES = 1 + 49 + 2116
PR_SET_PDEATHSIG = 1
"""Of Linux's `prctl`: the signal that a process gets when its parent ends."""


@dataclass(frozen=True)
class Part:
    """A part of the session.

    Args:
        name: Of the part.
        limit_s: Longest that it may take.
        script: Benchmark beside this file, which writes its figures with `--json`.
        options: Of the benchmark.
        smoke: Its options in small, on the CPU.
    """

    name: str
    limit_s: float
    script: str
    options: tuple[str, ...] = ()
    smoke: tuple[str, ...] = ("--smoke",)

    def command(self, figures: Path, *, smoke: bool) -> list[str]:
        """Returns the command that runs it."""
        options = self.smoke if smoke else self.options
        return [sys.executable, str(HERE / self.script), *options, "--json", str(figures)]


PARTS = (
    Part("paths", 150, "device_paths.py", smoke=("--device", "cpu", "--only", "sampling ddim,training fp32,finishing")),
    Part("sampling", 150, "cuda_speed.py", ("--only", "sampling"), ("--smoke", "--only", "sampling")),
    Part("training", 130, "cuda_speed.py", ("--only", "training"), ("--smoke", "--only", "training")),
    Part("students", 100, "cuda_students.py", smoke=("--smoke", "--networks", "1", "--steps", "1")),
    Part("host", 60, "whole_slide.py", ("--size", "8000"), ("--size", "2500")),
)


class Session:
    """The record of a session, written after each part.

    Args:
        out: Its folder.
        until: Time of `time.monotonic` at which it has to be over.
        smoke: In small, on the CPU.
    """

    def __init__(self, out: Path, until: float, *, smoke: bool) -> None:
        self.out, self.until, self.smoke = out, until, smoke
        self.file = out / "session.json"
        out.mkdir(parents=True, exist_ok=True)
        self.record: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self.until - time.monotonic() - RESERVED_S

    def note(self, name: str, **values: Any) -> None:
        """Writes what a part has come to."""
        self.record[name] = values
        written = self.file.with_suffix(".new")
        written.write_text(json.dumps(self.record, indent=2), encoding="utf-8")
        written.replace(self.file)  # whole, whenever the session is killed
        (self.out / "session.md").write_text(tables(self.record), encoding="utf-8")

    def run(self, part: Part) -> None:
        """Runs a part, unless it is done or there is no time for it."""
        if self.record.get(part.name, {}).get("state") == "done":
            print(f"{part.name}: done before", flush=True)
            return
        limit = min(part.limit_s, self.left())
        if limit < 10:
            self.note(part.name, state="left out, no time")
            return
        figures = self.out / f"{part.name}.json"
        started = time.monotonic()
        state = ended(start(part.command(figures, smoke=self.smoke), self.out / f"{part.name}.log"), limit)
        found = json.loads(figures.read_text()) if figures.exists() else {}
        self.note(part.name, state=state, seconds=round(time.monotonic() - started), figures=found)
        print(f"{part.name}: {state}, {time.monotonic() - started:.0f} s", flush=True)


def start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Starts a process with a group of its own, whose output goes to a file.

    If this process is killed, Linux interrupts the other one, so that the next session does not meet it at work.
    """

    def end_with_parent() -> None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would pass on that it is ignored

    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )


def ended(process: "subprocess.Popen[bytes]", limit_s: float) -> str:
    """Waits for a process up to a limit, ends it then, and returns how it ended."""
    try:
        code = process.wait(max(limit_s, 0))
    except subprocess.TimeoutExpired:
        return stopped(process)
    except KeyboardInterrupt:
        stopped(process)
        raise
    return "done" if code == 0 else f"failed with exit code {code}"


def stopped(process: "subprocess.Popen[bytes]") -> str:
    """Ends a process and those it started, and returns how."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "killed after its limit"
    return "stopped at its limit"


def train_teacher(session: Session, slide: Path) -> None:
    """Trains the built-in model's networks at the same time until the session is over, and keeps their weights."""
    app = [sys.executable, "-m", "urcdm_app"]
    folder = session.out / "teacher"
    folder.mkdir(exist_ok=True)
    tiles = folder / "tiles"
    command = [*app, "tile", str(slide), "--out", str(tiles), "--overlap", "0.75", "--resume"]
    state = ended(start(command, folder / "tile.log"), session.left())
    if state != "done":
        session.note("teacher", state=f"tile: {state}")
        return
    started = time.monotonic()
    runs = {}
    for name in list(NETWORKS)[:2] if session.smoke else NETWORKS:
        command = [*app, "train", "--tiles", str(tiles), "--only", name, "--out", str(folder / name), "--resume"]
        if session.smoke:
            command += ["--steps", "2", "--batch", "2", "--device", "cpu"]
        runs[name] = start(command, folder / f"{name}.log")
    try:
        states = {name: ended(run, session.left()) for name, run in runs.items()}
    finally:
        for run in runs.values():
            if run.poll() is None:
                stopped(run)
    plan, figures = read_plan(builtin.PLAN), {}
    for name, (level, stage) in NETWORKS.items():
        state_file = folder / name / name / "state.pt"
        if not state_file.exists():
            continue
        network, steps = load_trained(state_file, plan.of_level(level)[stage].stage)
        save_file(
            {key: value.half().contiguous() for key, value in network.state_dict().items()},
            folder / f"{name}.safetensors",
        )
        figures[name] = {"steps": steps, "state": states[name]}
    finished = all(state == "done" for state in states.values())
    seconds = round(time.monotonic() - started)
    session.note("teacher", state="done" if finished else "to go on", seconds=seconds, figures=figures)


def tables(record: dict[str, Any]) -> str:
    """Returns the figures as tables of the documentation."""
    lines = ["| part | state | seconds |", "| --- | --- | --- |"]
    lines += [f"| {name} | {part['state']} | {part.get('seconds', '')} |" for name, part in record.items()]
    figures = {name: part.get("figures", {}) for name, part in record.items()}
    paths = figures.get("paths", {})
    if paths:
        lines += ["", "| path | seconds | waits | error |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {path.get('seconds', '')} | {sum(path.get('waits', {}).values())} | {path.get('error', '')} |"
            for name, path in paths.items()
        ]
    for name in ("sampling", "training"):
        networks = figures.get(name, {}).get(name, {})
        if networks:
            of = "an image and step" if name == "sampling" else "an image of a training step"
            lines += [
                "",
                f"| {of} | imagen-pytorch, ms | ours, ms | batch | ratio |",
                "| --- | --- | --- | --- | --- |",
            ]
            lines += [
                f"| {network} | {found['imagen_ms']:.2f} | {found['ours_ms']:.2f} | {found['batch']} | "
                f"{found['ratio']:.1f} |"
                for network, found in networks.items()
            ]
    for network, found in figures.get("sampling", {}).get("sampling", {}).items():
        batches = list(found["by_batch"]["fp32"])
        lines += ["", f"| {network}, ms an image and step, batch | " + " | ".join(batches) + " |"]
        lines += ["| --- |" + " --- |" * len(batches)]
        lines += [
            f"| {way} | " + " | ".join(f"{of_way[batch]:.2f}" if batch in of_way else "" for batch in batches) + " |"
            for way, of_way in found["by_batch"].items()
        ]
    students = figures.get("students", {})
    if "slide_minutes" in students:
        host_ms = figures.get("host", {}).get("ms_a_patch_all_stages")
        lines += [
            "",
            f"A slide of 40,000 px by students of {students['steps']} steps: {students['slide_minutes']:.1f} min",
        ]
        if host_ms is not None:
            lines[-1] += f" of networks, and {host_ms * STUDY_PATCHES / 6e4:.1f} min of the host beside them"
    teacher = figures.get("teacher", {})
    if teacher:
        lines += ["", "| network | steps trained | state |", "| --- | --- | --- |"]
        lines += [f"| {name} | {found['steps']} | {found['state']} |" for name, found in teacher.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slide", type=Path, help="to train on; without it the teacher is left out")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", nargs="+", choices=[*(part.name for part in PARTS), "teacher"])
    parser.add_argument("--smoke", action="store_true", help="in small, on the CPU")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session = Session(arguments.out, time.monotonic() + 60 * arguments.minutes, smoke=arguments.smoke)
    for part in PARTS:
        if arguments.only is None or part.name in arguments.only:
            session.run(part)
    wanted = arguments.only is None or "teacher" in arguments.only
    if wanted and session.record.get("teacher", {}).get("state") != "done":
        if arguments.slide is None:
            session.note("teacher", state="left out, no --slide")
        else:
            train_teacher(session, arguments.slide)
    print((session.out / "session.md").read_text())
    failed = [name for name, part in session.record.items() if part["state"].startswith(("failed", "killed"))]
    sys.exit(f"{', '.join(failed)}: see the logs in {session.out}" if failed else 0)


if __name__ == "__main__":
    main()
