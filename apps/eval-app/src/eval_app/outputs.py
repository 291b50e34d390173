"""Files and folders that a command writes: refused where something is there already, and of one run at a time."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run_folder import FolderLock, RunFolder, UsageError, refuse_existing


def _refuse_existing(files: list[Path], *, overwrite: bool) -> None:
    """Raises UsageError if one of the files is a folder, or exists and may not be replaced."""
    for path in files:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give the name of a file")
    refuse_existing(files, overwrite=overwrite)


def check_ending(option: str, path: Path, *endings: str) -> None:
    """Raises UsageError if the name of a file to write does not end as wanted, so that it replaces no other kind."""
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: wanted a name that ends in {endings[0]}")


@contextmanager
def own_files(paths: Iterable[Path], *, overwrite: bool, inputs: Iterable[Path] = ()) -> Iterator[None]:
    """Keeps files that a command will write from other runs, until it has written them.

    Args:
        paths: The files, as the user named them.
        overwrite: Whether files of these names may be replaced.
        inputs: Files that the command reads: never replaced.

    Raises:
        UsageError: One exists and may not be replaced, is a folder or an input, or two are the same.
        LockedError: Another run writes one of them.
    """
    files = list(paths)
    _refuse_shared(files, inputs)
    _refuse_existing(files, overwrite=overwrite)
    with ExitStack() as locks:
        for path in files:
            locks.enter_context(FolderLock(path, beside=True))
        _refuse_existing(files, overwrite=overwrite)
        yield


def _refuse_shared(files: list[Path], inputs: Iterable[Path]) -> None:
    """Raises UsageError if a file is an input, or is given for two results."""
    taken = {path.resolve(): "is an input of this command" for path in inputs}
    for file in files:
        if problem := taken.get(file.resolve()):
            raise UsageError(f"{file} {problem}; give another name")
        taken[file.resolve()] = "is given for two results"


def refuse_inside(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UsageError if a folder for results lies in a folder of images: its pictures would count as images."""
    real = out.resolve()
    for place in inputs:
        if place.is_dir() and (place.resolve() == real or place.resolve() in real.parents):
            raise UsageError(f"--out {out} lies in {place}, all of whose images are read; choose another folder")


def results_folder(out: Path, command: str, *, overwrite: bool, inputs: Iterable[Path]) -> RunFolder:
    """The folder of a command that cannot be resumed.

    Args:
        out: The folder.
        command: Name of the command, such as 'memorise'.
        overwrite: Whether an earlier result of the command may be replaced.
        inputs: What the command reads.

    Raises:
        UsageError: The folder holds a result of the command already, or lies in an input.
    """
    inputs = list(inputs)
    refuse_inside(out, inputs)
    run = RunFolder(out, f"eval-app {command}", {}, overwrite=overwrite, inputs=inputs)
    if run.record_path.exists() and not overwrite:
        raise UsageError(
            f"{out} holds a result of eval-app {command}; give another --out, or --overwrite to replace it"
        )
    return run
