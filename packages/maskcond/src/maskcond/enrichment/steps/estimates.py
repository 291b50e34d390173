"""What is left of a run, in time and disk: from measured rates where a step of the kind has run, else unknown."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskcond.enrichment.steps.run import State, StepStatus


@dataclass(frozen=True)
class Estimate:
    """What a step still takes.

    Args:
        status: The step, and how far it is.
        seconds: Time; None where no step of its kind has run yet.
        bytes: Disk, roughly; None where that is not known.
    """

    status: StepStatus
    seconds: float | None
    bytes: int | None


def estimate(statuses: Sequence[StepStatus]) -> list[Estimate]:
    """Estimates each step by those of its kind that have run, in this run."""
    rates: dict[str, tuple[float, int]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for each in statuses:
        if each.record is not None and each.record.units and each.record.seconds:
            seconds, units = rates.get(each.step.kind, (0.0, 0))
            rates[each.step.kind] = (seconds + each.record.seconds, units + each.record.units)
            if each.record.done:
                size, units = sizes.get(each.step.kind, (0, 0))
                sizes[each.step.kind] = (size + each.record.bytes, units + each.record.units)
    return [_of_step(each, rates, sizes) for each in statuses]


def free_bytes(folder: Path) -> int:
    """What the disk of a folder, which need not exist yet, has room for."""
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
