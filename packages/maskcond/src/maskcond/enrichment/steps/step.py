"""What a run is made of: steps, each with a folder of its own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    Args:
        done: Units done: steps of training, images.
        total: Units in all.
        note: What else there is to tell, such as a loss.
    """

    done: int
    total: int
    note: str = ""


_TEMPORARY = "**/.*.partial*"
"""Left by a process that was killed, see `run_folder.whole_file`."""

Work = Callable[[Path], Iterator[Progress]]
"""Does a step in its folder, going on with what lies there of the same step, interrupted."""


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a run.

    Args:
        name: Its folder in the run.
        about: What it does, in a few words.
        work: Does it.
        outputs: Files and folders in its folder that other steps read.
        work_files: What else it writes there, as patterns such as '64-*/**/*'; all else in its folder is the user's.
        settings: All that decides the outputs beside the steps that it reads, as plain values.
        reads: Steps whose outputs it reads; they come before it.
        units: How many units of work it has.
        kind: Steps of one kind take the same time for a unit.
        unit_bytes: What a unit leaves on disk, roughly, where that is known beforehand.
        fixed_bytes: Tells what it leaves on disk whatever its units, likewise; asked only where nothing was measured.
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
