"""One run, one folder: a lock that names its holder and ends with the process."""

import contextlib
import errno
import json
import os
import socket
import stat
import sys
from datetime import datetime
from pathlib import Path
from typing import IO, Any

LOCK_FILE = ".lock"
_NOT_OURS = "{} exists and is no lock of a run; move it away, or choose another folder"


class LockedError(ValueError):
    """Another process works in the same folder; the message names it."""


class FolderLock:
    """A lock on a folder, or on any path that one process at a time may write; a context manager.

    The operating system holds it, so it ends with the process that took it, even if that is killed: no lock has to be
    removed by hand. The file names the holder: process, host and start time. Two locks on one path also exclude each
    other within a process.

    Args:
        path: The folder, which is made if missing, with the lock '.lock' in it. With `beside`, a file or folder, which
            need not exist, with the lock '.NAME.lock' beside it.
        beside: Whether the lock is beside `path` instead of inside it.

    Raises:
        LockedError: On entry: another run holds the lock, or another program's file has its name.
        OSError: On entry: the lock cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, beside: bool = False) -> None:
        self.path = Path(path)
        self.file = self.path.with_name(f".{self.path.name}.lock") if beside else self.path / LOCK_FILE
        self._stream: IO[str] | None = None
        self._made: list[Path] = []

    def __enter__(self) -> "FolderLock":
        self._made = [folder for folder in self.file.parents if not folder.exists()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        while self._stream is None:
            if not _may_be_lock(self.file):
                raise LockedError(_NOT_OURS.format(self.file))
            with contextlib.ExitStack() as closing:
                stream = closing.enter_context(self.file.open("a+", encoding="utf-8"))
                if not _take(stream):
                    raise LockedError(_refusal(self.path, stream))
                if os.fstat(stream.fileno()).st_size and _read_holder(stream) is None:
                    raise LockedError(_NOT_OURS.format(self.file))
                if _is_file(self.file, stream):  # otherwise the last holder removed it: open the new one
                    self._stream = stream
                    closing.pop_all()
        self._stream.truncate(0)
        json.dump(_holder(), self._stream)
        self._stream.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._stream is not None

    def release(self) -> None:
        """Releases the lock and removes its file, and the empty folders that it made."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        if sys.platform == "win32":  # Windows cannot remove an open file; an empty one names no holder
            stream.truncate(0)
        elif _is_file(self.file, stream):
            self.file.unlink(missing_ok=True)
        stream.close()
        for folder in self._made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


if sys.platform == "win32":
    import msvcrt

    def _take(stream: IO[str]) -> bool:
        stream.seek(2**30)  # locks a byte far beyond the text, which others may read
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    _NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
    """Errors of file systems without locks, such as Lustre mounted without them."""

    def _take(stream: IO[str]) -> bool:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return not _may_be_at_work(_read_holder(stream))
        return True

    def _may_be_at_work(holder: dict[str, Any] | None) -> bool:
        """Whether the holder of a lock may still be running; a holder on another host may."""
        if holder is None or holder["host"] != socket.gethostname():
            return holder is not None
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # it belongs to another user
        return True


def _may_be_lock(path: Path) -> bool:
    """Whether a path is free or a regular file: links, pipes and folders are not locks."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def _is_file(path: Path, stream: IO[str]) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _holder() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}


def _read_holder(stream: IO[str]) -> dict[str, Any] | None:
    """The process that holds the lock, from the lock's file; None if the file names none."""
    try:
        stream.seek(0)
        holder = json.load(stream)
        return {"process": int(holder["process"]), "host": str(holder["host"]), "since": str(holder["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(path: Path, stream: IO[str]) -> str:
    holder = _read_holder(stream)
    who = "another process" if holder is None else "process {process} on {host}, since {since}".format_map(holder)
    return f"{path}: a run is at work here ({who}); wait until it ends, or choose another folder"
