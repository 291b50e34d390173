"""The log of a training run: `log.jsonl` always, and trackers where asked for."""

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from cdm_core.errors import CheckpointError, ConfigError
from cdm_core.training.state import LOG_FILE
from run_folder import whole_file


class TrainingLog:
    """Writes the lines of a run, on the main process only; a context manager.

    Lines of steps that are to be run again, after `step`, are dropped first, and so are damaged ones, as a crash of the
    machine leaves them: nothing depends on the log. How many were damaged is written to it.

    Args:
        folder: Of the run; holds `log.jsonl` and the trackers' folders.
        step: Steps done so far.
        batch_size: Images a step.
        accelerator: Of the run.
        trackers: Further places to log to.

    Raises:
        CheckpointError: The log cannot be read or written.
    """

    def __init__(
        self, folder: Path, step: int, batch_size: int, accelerator: Accelerator, trackers: Sequence[str]
    ) -> None:
        self.folder, self.accelerator, self.batch_size = folder, accelerator, batch_size
        accelerator.log_with = [_tracker(name, folder, step) for name in trackers]
        accelerator.init_trackers(folder.resolve().parent.name)
        self.file = None
        if accelerator.is_main_process:
            path = folder / LOG_FILE
            try:
                damaged = _cut(path, step)
                self.file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be written ({error.strerror}); use another folder") from None
            if damaged:
                self.event("damaged_lines", step, lines=damaged)
        self.started = self.since = time.monotonic()
        self.since_step = step
        self.aside_s = 0.0

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):  # every line was flushed; failures were raised then
                self.file.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the values of a step, with time, speed and the share of time aside; null where one is not finite."""
        now = time.monotonic()
        speed = (step - self.since_step) * self.batch_size / max(now - self.since, 1e-9)
        clock = {
            "seconds": round(now - self.started, 3),
            "images_per_second": round(speed, 3),
            "aside_share": round(self.aside_share, 4),
        }
        line = {**values, **clock}
        self.since, self.since_step = now, step
        finite = {name: value for name, value in line.items() if math.isfinite(value)}
        self._write({"step": step, **dict.fromkeys(line), **finite})
        self.accelerator.log(finite, step=step)

    def event(self, name: str, step: int, **values: Any) -> None:
        """Writes that something happened in a step."""
        self._write({"event": name, "step": step, **values})

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leaves the time of the block, in which there are no steps, out of the speed."""
        before = time.monotonic()
        yield
        took_s = time.monotonic() - before
        self.since += took_s
        self.aside_s += took_s

    @property
    def aside_share(self) -> float:
        """Share of the time since the run began, or went on, in which there were no steps."""
        return self.aside_s / max(time.monotonic() - self.started, 1e-9)

    def _write(self, line: dict[str, Any]) -> None:
        if self.file is not None:
            try:
                self.file.write(json.dumps(line) + "\n")
                self.file.flush()
            except OSError as error:
                raise CheckpointError(
                    f"{self.folder / LOG_FILE}: cannot be written ({error.strerror}); is the disk full?"
                ) from None


def check_trackers(trackers: Sequence[str]) -> None:
    """Checks that the packages of the trackers are installed.

    Raises:
        ConfigError: One is not.
    """
    for name in trackers:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a mere folder of that name, such as a run leaves, has no origin
            raise ConfigError(f"trackers: {name} is not installed; run: pip install 'cdm-core[{name}]'")


def _tracker(name: str, folder: Path, step: int) -> GeneralTracker:
    if name == "tensorboard":
        # figures of steps that are to be run again are hidden
        return TensorBoardTracker("tensorboard", folder, purge_step=step + 1)
    return WandBTracker(folder.resolve().parent.name, dir=str(folder), name=folder.name)


def _cut(path: Path, step: int) -> int:
    """Drops the lines of steps that are to be run again, and damaged ones; returns how many were damaged.

    Raises:
        CheckpointError: Nothing has been trained, and the file is something else.
    """
    if not path.exists():
        return 0
    # A killed run may leave half a line at the end, of a later step, which is not reported.
    *lines, half = path.read_bytes().split(b"\n")
    steps = [(line, _step_of(line)) for line in lines]
    steps += [(half, of_half)] if (of_half := _step_of(half)) is not None else []
    foreign = any(line.strip() and not line.startswith(b"{") for line in (*lines, half))
    if not step and foreign and all(of_line is None for _, of_line in steps):
        raise CheckpointError(f"{path}: not the log of a training; move it away, or use another folder")
    kept = [line + b"\n" for line, of_line in steps if of_line is not None and of_line <= step]
    with whole_file(path) as temporary:
        temporary.write_bytes(b"".join(kept))
    return sum(of_line is None and bool(line.strip()) for line, of_line in steps)


def _step_of(line: bytes) -> float | None:
    """Returns the step of a line of the log; None if it is damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int | float) and math.isfinite(step) else None
