"""Runs the steps of a run in order, except those that are done with the same settings and inputs."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.steps.digests import digest_files, file_sizes, list_files, unchanged
from maskcond.enrichment.steps.record import RECORD_FILE, StepRecord, plain
from maskcond.enrichment.steps.step import Progress, Step
from run_folder import RunFolder

TOOL = "enrich-app"
"""Name of the tool in the record of a run's folder."""
SAVE_EVERY_S = 5.0


class State(StrEnum):
    """The state of a step."""

    DONE = "done"
    BEGUN = "begun"
    """It was interrupted and will continue."""
    TO_DO = "to do"
    WAITING = "waiting"
    """It was done; whether it has to be repeated is known once the steps that it reads are done."""
    CHANGED = "changed"
    """Its settings or inputs have changed since they were recorded, or its outputs were modified."""


@dataclass(frozen=True)
class StepStatus:
    """A step, its state, and its record if it has one; `reason` explains the state `CHANGED`."""

    step: Step
    state: State
    record: StepRecord | None = None
    reason: str = ""


@dataclass(frozen=True)
class StepEvent:
    """The progress of a step; `kept` if it was done before."""

    step: Step
    progress: Progress
    kept: bool = False


class StepRun:
    """The steps of a run in its folder.

    Args:
        folder: Folder of the run; each step has a folder of its name in it.
        steps: Steps, each after those that it reads.

    Raises:
        EnrichmentError: A step reads one that does not come before it, or two share a name.
    """

    def __init__(self, folder: Path, steps: Sequence[Step]) -> None:
        known: set[str] = set()
        for step in steps:
            if step.name in known or not known.issuperset(step.reads):
                raise EnrichmentError(f"step '{step.name}' is listed twice, or comes before one that it reads")
            known.add(step.name)
        self.folder, self.steps = folder, tuple(steps)

    def status(self) -> list[StepStatus]:
        """The status of each step; nothing is written.

        Raises:
            EnrichmentError: A step's record is damaged, or its folder holds other files.
        """
        statuses: dict[str, StepStatus] = {}
        for step in self.steps:
            statuses[step.name] = self._status(step, statuses)
        return list(statuses.values())

    def carry_out(self, *, overwrite: bool = False, files: Sequence[str] = ()) -> Iterator[StepEvent]:
        """Runs the steps that are not done; after an interruption the same call continues.

        Args:
            overwrite: Whether to repeat steps whose settings or inputs have changed since they were recorded; the files
                that they wrote are removed, and no others.
            files: Names of files beside the steps' folders that the caller writes.

        Yields:
            Events.

        Raises:
            EnrichmentError: The settings or inputs of a step have changed, and `overwrite` is false.
            LockedError: Another process works on the run.
            RunFolderError: One of `files` exists, and the run did not write it.
        """
        with RunFolder(self.folder, TOOL, {}, resume=True) as run:
            run.claim(*files)
            for status in self.status():
                if status.state is State.CHANGED and not overwrite:
                    raise EnrichmentError(self._refusal(status))
            statuses: dict[str, StepStatus] = {}
            for step in self.steps:
                status = self._status(step, statuses)
                if status.state is State.DONE:
                    yield StepEvent(step, Progress(step.units, step.units), kept=True)
                else:
                    if status.state is State.CHANGED:
                        if not overwrite:
                            raise EnrichmentError(self._refusal(status))
                        self._drop(step)
                    yield from self._work(step, {name: _digest(statuses[name]) for name in step.reads})
                    status = self._status(step, statuses)
                statuses[step.name] = status

    def place(self, name: str) -> Path:
        """The folder of a step."""
        return self.folder / name

    def _status(self, step: Step, before: dict[str, StepStatus]) -> StepStatus:
        record = StepRecord.load(self.place(step.name))
        if record is None:
            return StepStatus(step, State.TO_DO)
        # the outputs of unfinished steps are not known yet, so this step's inputs are not compared
        pending = any(before[name].state is not State.DONE for name in step.reads)
        reads = record.reads if pending else {name: _digest(before[name]) for name in step.reads}
        reason = record.difference(plain(step.settings), reads)
        if reason is None and record.done and not unchanged(self.place(step.name), record.files, record.digest):
            reason = "its outputs were changed or removed"
        if reason is not None:
            return StepStatus(step, State.CHANGED, record, reason)
        if pending:
            return StepStatus(step, State.WAITING, record)
        return StepStatus(step, State.DONE if record.done else State.BEGUN, record)

    def _work(self, step: Step, reads: dict[str, str]) -> Iterator[StepEvent]:
        folder = self.place(step.name)
        folder.mkdir(parents=True, exist_ok=True)
        saved_record = StepRecord.load(folder)
        if saved_record is None or saved_record.dropping:
            record = StepRecord(plain(step.settings), reads, strangers=_files(folder))
        else:
            record = saved_record
        record.save(folder)
        before, started, saved = record.seconds, time.monotonic(), time.monotonic()
        yield StepEvent(step, Progress(record.units, step.units))
        try:
            for progress in step.work(folder):
                now = time.monotonic()
                record.units, record.seconds = progress.done, before + now - started
                if now - saved > SAVE_EVERY_S:
                    record.save(folder)
                    saved = now
                yield StepEvent(step, progress)
        finally:
            record.save(folder)
        strangers = set(record.strangers)
        outputs = [name for name in list_files(folder, step.outputs) if name not in strangers]
        record.files = file_sizes(folder, outputs)
        record.written = [name for name in step.own_files(folder) if name not in strangers]
        record.digest = digest_files(folder, record.files)
        record.seconds, record.units = before + time.monotonic() - started, record.units or step.units
        record.bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        record.done = True
        record.save(folder)
        yield StepEvent(step, Progress(step.units, step.units))

    def _drop(self, step: Step) -> None:
        """Removes the files that a step wrote; the record marks this first, in case of an interruption."""
        folder = self.place(step.name)
        record = StepRecord.load(folder)
        if record is None:
            return
        if not record.written:  # the step was not done, or done by a version that did not record its files
            strangers = set(record.strangers)
            record.written = [name for name in step.own_files(folder) if name not in strangers]
        record.dropping, record.done = True, False
        record.save(folder)
        paths = [folder / name for name in record.written]
        for path in paths:
            path.unlink(missing_ok=True)
        parents = {parent for path in paths for parent in path.parents if folder in parent.parents}
        for parent in sorted(parents, reverse=True):
            with contextlib.suppress(OSError):  # the folder holds the user's files
                parent.rmdir()

    def _refusal(self, status: StepStatus) -> str:
        return (
            f"{self.place(status.step.name)}: this step was done with other settings or inputs ({status.reason}); take "
            "another folder for the run, or overwrite: the step, and steps whose inputs then change, are done again"
        )


def _digest(status: StepStatus) -> str:
    return "" if status.record is None else status.record.digest


def _files(folder: Path) -> list[str]:
    """All files of a folder except the record, as paths relative to it."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != RECORD_FILE)
