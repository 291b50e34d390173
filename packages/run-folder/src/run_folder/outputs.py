"""Single files that a command writes: existing files are kept unless `overwrite` is given; one run at a time."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run_folder.errors import UsageError
from run_folder.existing import refuse_existing
from run_folder.locks import FolderLock


def check_ending(option: str, path: Path, *endings: str) -> None:
    """Checks the ending of a file to write, so that it does not replace a file of another kind.

    Args:
        option: Name of the option, for the error.
        path: The file.
        endings: Allowed endings, such as '.json', the usual one first.

    Raises:
        UsageError: The file has another ending.
    """
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: wanted a name that ends in {endings[0]}")


def refuse_inside(out: Path, inputs: Iterable[Path]) -> None:
    """Checks that a folder for results does not lie in a folder of inputs, all of whose files are read.

    Raises:
        UsageError: It does, so that its files would count as inputs.
    """
    real = out.resolve()
    for folder in inputs:
        if folder.is_dir() and (folder.resolve() == real or folder.resolve() in real.parents):
            raise UsageError(f"--out {out} lies in {folder}, all of whose images are read; choose another folder")


@contextmanager
def own_files(paths: Iterable[Path | None], *, overwrite: bool, inputs: Iterable[Path | None] = ()) -> Iterator[None]:
    """Locks files that a command will write, until it has written them.

    Args:
        paths: The files, as the user named them; None for an option that was not given.
        overwrite: Whether files of these names may be replaced.
        inputs: Files that the command reads: never replaced.

    Raises:
        UsageError: One exists and may not be replaced, is a folder or an input, or two are the same.
        LockedError: Another run writes one of them.
    """
    files = [path for path in paths if path is not None]
    _refuse_shared(files, [path for path in inputs if path is not None])
    _refuse_existing(files, overwrite=overwrite)
    with ExitStack() as locks:
        for path in files:
            locks.enter_context(FolderLock(path, beside=True))
        _refuse_existing(files, overwrite=overwrite)
        yield


def _refuse_existing(paths: list[Path], *, overwrite: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give the name of a file")
    refuse_existing(paths, overwrite=overwrite)


def _refuse_shared(files: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises a UsageError if a file is an input, or is given for two results."""
    taken = {path.resolve(): "is an input of this command" for path in inputs}
    for file in files:
        if problem := taken.get(file.resolve()):
            raise UsageError(f"{file} {problem}; give another name")
        taken[file.resolve()] = "is given for two results"
