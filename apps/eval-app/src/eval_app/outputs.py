"""The folder, the files and the provenance of a result."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pfid import Result
from pfid.results.result import FILE_NAMES, ResultKind
from run_folder import RunFolder, UsageError, whole_file
from run_folder.outputs import refuse_inside

RESULT_FILES: dict[ResultKind, tuple[str, str]] = {
    "pfid": (FILE_NAMES["pfid"], "pairs.png"),
    "memorise": (FILE_NAMES["memorise"], "pairs.png"),
    "two-sample": (FILE_NAMES["two-sample"], "telling.png"),
}
"""Names of a command's result and picture in its folder."""
_PACKAGES = ("eval-app", "pfid", "wsi-tiling", "torch", "numpy", "pillow")


def results_folder(out: Path, command: ResultKind, *, overwrite: bool, inputs: Iterable[Path]) -> RunFolder:
    """The folder of a command that cannot be resumed.

    Args:
        out: The folder.
        command: Name of the command, such as 'memorise'.
        overwrite: Whether an earlier result of the command may be replaced.
        inputs: The files and folders that the command reads.

    Raises:
        UsageError: The folder holds a result of the command, or lies in an input.
    """
    inputs = list(inputs)
    refuse_inside(out, inputs)
    run = RunFolder(out, f"eval-app {command}", {}, overwrite=overwrite, inputs=inputs)
    if run.record_path.exists() and not overwrite:
        raise UsageError(
            f"{out} holds a result of eval-app {command}; give another --out, or --overwrite to replace it"
        )
    return run


def save_result(out: Path, result: Result, picture: NDArray[np.uint8]) -> tuple[Path, Path]:
    """Writes a result and its picture, (H, W, 3) uint8, into the folder of a command; returns both files."""
    name, picture_name = RESULT_FILES[result.kind]
    with whole_file(out / picture_name) as partial:
        PIL.Image.fromarray(picture).save(partial, "png")
    replace(result, picture=picture_name).save(out / name)
    return out / name, out / picture_name


def side_name(name: str | None, places: Sequence[Path]) -> str:
    """Returns the name of a generated side: as given, or that of its files and folders."""
    return name or ", ".join(place.stem if place.is_file() else place.resolve().name for place in places)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
