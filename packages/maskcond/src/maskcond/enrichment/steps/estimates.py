"""Estimates of a run's remaining time and disk space, from the measured rates of steps of the same kind."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskcond.enrichment.steps.run import State, StepStatus


@dataclass(frozen=True)
class Estimate:
    """The estimated remaining time and disk space of a step.

    Args:
        status: Status of the step.
        seconds: Time, s; None if no step of its kind has run yet.
        bytes: Disk space; None if unknown.
    """

    status: StepStatus
    seconds: float | None
    bytes: int | None


def estimate(statuses: Sequence[StepStatus]) -> list[Estimate]:
    """Estimates each step from the steps of its kind that have run in this run."""
    rates: dict[str, tuple[float, int]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for status in statuses:
        record, kind = status.record, status.step.kind
        if record is not None and record.units and record.seconds:
            seconds, units = rates.get(kind, (0.0, 0))
            rates[kind] = (seconds + record.seconds, units + record.units)
            if record.done:
                size, units = sizes.get(kind, (0, 0))
                sizes[kind] = (size + record.bytes, units + record.units)
    return [_of_step(status, rates, sizes) for status in statuses]


def free_bytes(folder: Path) -> int:
    """The free disk space at a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def _of_step(status: StepStatus, rates: dict[str, tuple[float, int]], sizes: dict[str, tuple[int, int]]) -> Estimate:
    step = status.step
    if status.state is State.DONE:
        return Estimate(status, 0.0, 0)
    begun = status.record.units if status.state is State.BEGUN and status.record is not None else 0
    seconds = None
    if step.kind in rates:
        whole, units = rates[step.kind]
        seconds = whole / units * max(step.units - begun, 0)
    if step.kind in sizes:
        size, units = sizes[step.kind]
        return Estimate(status, seconds, round(size / units * step.units))
    guess = step.units * step.unit_bytes + (step.fixed_bytes() if step.fixed_bytes is not None else 0)
    return Estimate(status, seconds, guess or None)
