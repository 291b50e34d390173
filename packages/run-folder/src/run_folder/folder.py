"""The folder of a run: its lock, and the record of its outputs and settings."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from run_folder.errors import first_line
from run_folder.files import is_partial, whole_file
from run_folder.locks import LOCK_FILE, FolderLock

_FORMAT = 1


class RunFolderError(ValueError):
    """A folder that a run may not write, or whose record cannot be read."""


class RunFolder:
    """A folder in which one run at a time writes, with a record of its outputs; a context manager.

    The record, '.TOOL.json' in the folder, lists the run's outputs and settings. It alone decides what belongs to the
    run:

    - an existing file that is not in the record belongs to the user: the run cannot claim its name;
    - `overwrite` removes the recorded outputs, and nothing else, at the first claim: a run that ends before, because of
      wrong inputs, removes nothing;
    - `resume` removes nothing;
    - a run resumes with the settings that it was started with.

    The lock is held from the start to the end. Parts of a run in folders inside it have separate locks, and a part is
    not dropped while it is running.

    Args:
        path: The folder; made if missing.
        tool: Name of the program, such as 'urcdm-app tile'.
        settings: The settings that determine the results, as JSON values.
        resume: Whether to continue the recorded run.
        overwrite: Whether to drop the recorded run and start again.
        inputs: Files that the run reads, and folders all of whose files it reads; they are never removed.

    Raises:
        LockedError: On entry: another run works in the folder.
        RunFolderError: On entry: the folder holds a run, and neither `resume` nor `overwrite` is set, or the run has
            other settings; an output to drop is an input; or the record is damaged.
        OSError: On entry: the folder cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tool: str,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        inputs: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self.path = Path(path)
        self.tool = tool
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.resume, self.overwrite = resume, overwrite
        self.inputs = tuple(Path(path).resolve() for path in inputs)
        self.files: dict[str, None] = {}
        self.patterns: tuple[str, ...] = ()
        self.resumed = self._drops = False
        self.record_path = self.path / f".{tool.replace(' ', '-')}.json"
        self._lock = FolderLock(self.path)

    def __enter__(self) -> "RunFolder":
        self._lock.__enter__()
        try:
            self._open()
        except BaseException:
            self._leave(record=False)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave(record=kind is not None and not self.resumed)

    def claim(self, *files: str, patterns: Sequence[str] = ()) -> None:
        """Records outputs before they are written; from then on the run may replace and remove them.

        With `overwrite`, the first claim removes the outputs of the earlier run, unless a name is taken.

        Args:
            files: Names inside the folder, with '/' between folders.
            patterns: Names with wildcards, such as 'slides/*.parquet' or 'samples/**/*'. A pattern claims the files
                that match it, not their folder: what a user puts beside them stays.

        Raises:
            RunFolderError: An output, or another file in its folder, exists and is not in the record.
            LockedError: A part of the run to drop is running.
            OSError: The record cannot be written.
        """
        new_files = [file for file in files if file not in self.files]
        new_patterns = [pattern for pattern in patterns if pattern not in self.patterns]
        self._check_inside(new_files + new_patterns)
        if self._drops:
            new_files, new_patterns = list(files), list(patterns)
        self._check_nobodys(new_files, new_patterns)
        if self._drops:
            self._drop()
            self.files, self.patterns, self._drops = {}, (), False
        if new_files or new_patterns:
            self.files |= dict.fromkeys(new_files)
            self.patterns += tuple(new_patterns)
            self._save()

    def _check_nobodys(self, files: list[str], patterns: list[str]) -> None:
        """Raises RunFolderError if new outputs, or other files in their folders, exist and are not recorded."""
        existing = [path for file in files if os.path.lexists(path := self.path / file)] + self._matches(patterns)
        recorded = set() if self._drops else _folders([*self.files, *self.patterns])
        for folder in sorted(_folders([*files, *patterns]) - recorded):
            existing.extend(_files_in(self.path / folder))
        known = {*self._matches(self.patterns), *(self.path / file for file in self.files)} if existing else set()
        strange = next((path for path in existing if path not in known), None)
        if strange is not None:
            raise RunFolderError(
                f"{strange} exists, and no run of {self.tool} recorded that it wrote it; move it away, or choose "
                "another folder"
            )

    def outputs(self) -> list[Path]:
        """The files of the run that exist, in the order of their names."""
        listed = [path for file in self.files if os.path.lexists(path := self.path / file)]
        return sorted({*listed, *self._matches(self.patterns)})

    def _open(self) -> None:
        record = self._load()
        if record is None:
            return
        settings, self.files, self.patterns = record
        self._check_inside([*self.files, *self.patterns])
        if not (self.resume or self.overwrite):
            raise RunFolderError(
                f"{self.path} holds a run of {self.tool}; resume it (--resume), or drop it (--overwrite)"
            )
        if not self.resume:
            self._drops = True
            self._check_inputs()
        elif changed := list(differences(settings, self.settings)):
            raise RunFolderError(
                f"{self.path}: the run was started with other settings ({'; '.join(changed)}); use the same, or choose "
                "another folder"
            )
        self.resumed = self.resume

    def _check_inputs(self) -> None:
        taken = set(self.inputs)
        for path in self.outputs():
            real = path.resolve()
            if real in taken or not taken.isdisjoint(real.parents):
                raise RunFolderError(f"{path} is an input of this run; choose another folder for the results")

    def _drop(self) -> None:
        """Removes the recorded outputs and files left by killed processes, then folders that are empty."""
        left = [path for name in _folders([*self.files, *self.patterns]) for path in (self.path / name).rglob(".*")]
        for path in left:
            if path.name == LOCK_FILE:  # a part of the run may be running there
                with FolderLock(path.parent):
                    pass
        paths = [*self.outputs(), *(path for path in left if is_partial(path.name))]
        for path in paths:
            path.unlink(missing_ok=True)
        self.record_path.unlink()
        folders = {parent for path in [*paths, *left] for parent in path.parents if self.path in parent.parents}
        for folder in sorted(folders, reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()

    def _leave(self, *, record: bool) -> None:
        """Releases the lock; a run without outputs leaves no record and no folders."""
        if record and not self.outputs():
            self.record_path.unlink(missing_ok=True)
        self._lock.release()

    def _matches(self, patterns: Iterable[str]) -> list[Path]:
        """The files and links, not the folders, that match patterns."""
        paths = (path for pattern in patterns for path in self.path.glob(pattern))
        return [path for path in paths if path.is_symlink() or not path.is_dir()]

    def _check_inside(self, names: Iterable[str]) -> None:
        for name in names:
            parts = PurePosixPath(name).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise RunFolderError(f"{self.path}: '{name}' is not a name inside the folder")

    def _load(self) -> tuple[dict[str, Any], dict[str, None], tuple[str, ...]] | None:
        try:
            record = json.loads(self.record_path.read_text(encoding="utf-8"))
            if record["format"] != _FORMAT:
                raise RunFolderError(f"{self.record_path} is of another version of {self.tool}; choose another folder")
            files, patterns = ([str(name) for name in record[key]] for key in ("files", "patterns"))
            return dict(record["settings"]), dict.fromkeys(files), tuple(patterns)
        except FileNotFoundError:
            return None
        except RunFolderError:
            raise
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{self.record_path} is damaged ({first_line(error)}); choose another folder, or delete the file: what "
                "lies beside it then counts as yours"
            ) from None

    def _save(self) -> None:
        record = {
            "format": _FORMAT,
            "tool": self.tool,
            "settings": self.settings,
            "files": list(self.files),
            "patterns": self.patterns,
        }
        with whole_file(self.record_path) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _folders(names: Iterable[str]) -> set[str]:
    """The first folders of names with folders."""
    return {parts[0] for name in names if len(parts := PurePosixPath(name).parts) > 1}


def _files_in(path: Path) -> Iterator[Path]:
    """Files and links in a folder and below, except those of killed runs; or the path itself, if it is a file."""
    if os.path.lexists(path) and not path.is_dir():
        yield path
    for folder, inside, names in os.walk(path):
        yield from (Path(folder, name) for name in names if name != LOCK_FILE and not is_partial(name))
        yield from (link for name in inside if (link := Path(folder, name)).is_symlink())


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Names what differs between two values made of dicts, lists and plain values, as 'rule.min_hue 0.5, not 0.8'."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{name}.{number}")
    elif old != new:
        yield f"{name} {json.dumps(old)}, not {json.dumps(new)}"
