import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from run_folder import FolderLock, LockedError

HOLDS = """
import sys, time
from run_folder import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_by_name_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(LockedError, match=f"process {process.pid} on .*, since 20") as refused,
            FolderLock(tmp_path),
        ):
            pass
        assert "\n" not in str(refused.value)
        process.kill()
        process.wait()
        assert (tmp_path / ".lock").exists()
        with FolderLock(tmp_path) as lock:
            assert lock.held
            assert json.loads(lock.file.read_text())["process"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_excludes_within_a_process_and_can_be_taken_again(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        with pytest.raises(LockedError), FolderLock(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path):
        pass


def test_a_file_of_its_name_that_is_no_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    lock = tmp_path / ".lock"
    for make in (lambda: lock.write_text("mine"), lambda: lock.symlink_to("mine"), lambda: os.mkfifo(lock)):
        make()
        with pytest.raises(LockedError, match="is no lock of a run; move it away"), FolderLock(tmp_path):
            pass
        assert lock.is_fifo() or lock.read_text() == "mine"
        lock.unlink()


def test_beside_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "made" / "slide.tiff", beside=True):
        assert [path.name for path in (tmp_path / "made").iterdir()] == [".slide.tiff.lock"]
    assert not (tmp_path / "made").exists()


def test_racing_processes_never_hold_it_together(tmp_path: Path) -> None:
    race = textwrap.dedent("""
        import sys
        from pathlib import Path
        from run_folder import FolderLock, LockedError
        folder = Path(sys.argv[1])
        for _ in range(200):
            try:
                with FolderLock(folder):
                    (folder / "inside").touch(exist_ok=False)
                    (folder / "inside").unlink()
            except LockedError:
                pass
    """)
    racers = [subprocess.Popen([sys.executable, "-c", race, str(tmp_path)]) for _ in range(3)]
    assert [racer.wait() for racer in racers] == [0, 0, 0]
    assert not list(tmp_path.iterdir())


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_file_systems_without_locks_go_by_the_holder_that_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with FolderLock(tmp_path) as lock, pytest.raises(LockedError, match=f"process {os.getpid()}"), FolderLock(tmp_path):
        pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = {"process": dead.pid, "host": socket.gethostname(), "since": "then"}
    lock.file.write_text(json.dumps(here))
    with FolderLock(tmp_path):
        pass
    lock.file.write_text(json.dumps(here | {"host": "elsewhere"}))
    with pytest.raises(LockedError, match="on elsewhere, since then"), FolderLock(tmp_path):
        pass
