"""Steps of a run, each with its own folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """The progress of a step.

    Args:
        done: Number of units done, such as training steps or images.
        total: Number of units of the whole step.
        note: Further information, such as a loss.
    """

    done: int
    total: int
    note: str = ""


_TEMPORARY = "**/.*.partial*"
"""Files left by a killed process, see `run_folder.whole_file`."""

Work = Callable[[Path], Iterator[Progress]]
"""Runs a step in its folder, and continues it after an interruption."""


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a run.

    Args:
        name: Name of the step and of its folder in the run.
        about: Short description.
        work: Function that runs the step.
        outputs: Files and folders in its folder that other steps read.
        work_files: Patterns of other files that it writes there, such as '64-*/**/*'; all further files are the user's.
        settings: All settings that determine the outputs, besides the steps that it reads, as plain values.
        reads: Names of steps whose outputs it reads; they come before it.
        units: Number of units of work.
        kind: Kind of step; steps of one kind take the same time for a unit.
        unit_bytes: Estimated disk space of a unit, bytes; 0 if unknown.
        fixed_bytes: Function that estimates the disk space that does not depend on the units, bytes; called only if no
            step of the kind was measured.
    """

    name: str
    about: str
    work: Work
    outputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    units: int = 1
    kind: str = ""
    unit_bytes: int = 0
    fixed_bytes: Callable[[], int] | None = None
    work_files: tuple[str, ...] = ()

    def own_files(self, folder: Path) -> list[str]:
        """The files of the step in its folder, as paths relative to it, sorted."""
        patterns = (*self.outputs, *(f"{output}/**/*" for output in self.outputs), *self.work_files, _TEMPORARY)
        paths = (path for pattern in patterns for path in folder.glob(pattern))
        return sorted({path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or path.is_file()})
