import contextlib
import errno
import os
import time
from pathlib import Path

import pytest

from run_folder import FolderLock, LockedError, file_sha256, first_line, is_disk_full, user_message, whole_file


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.npz"
    with whole_file(path) as partial:
        partial.write_text("whole")
        assert partial.suffix == ".npz"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [each.name for each in path.parent.iterdir()] == ["table.npz"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with contextlib.suppress(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_names_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("病" * 83 + ".txt")
    assert len(os.fsencode(path.name)) == 253
    with whole_file(path) as partial:
        partial.write_text("x")
    assert path.exists()


def test_removes_what_killed_processes_left(tmp_path: Path) -> None:
    with whole_file(tmp_path / "elsewhere" / "a.txt") as partial:
        partial.touch()
    names = {partial.name: 7200, f".0{partial.name[2:]}": 60, ".mine.partial.txt": 7200}
    for name, age in names.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with whole_file(tmp_path / "a.txt") as other:
        other.touch()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*list(names)[1:], "a.txt", "elsewhere"])


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (ValueError("\n \n"), "ValueError"),
        (ValueError("\nfirst \nsecond"), "first"),
        (KeyError("a"), "'a'"),
    ],
)
def test_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_the_line_for_the_user(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.png")
    assert is_disk_full(full)
    assert not is_disk_full(ValueError())
    assert user_message(full, ()) == "the disk is full; free some space and run again"
    assert user_message(OSError(errno.EACCES, "Permission denied", "x.png"), ()) == "x.png: Permission denied"
    with pytest.raises(LockedError) as locked, FolderLock(tmp_path), FolderLock(tmp_path):
        pass
    assert "a run is at work here" in (user_message(locked.value, ()) or "")
    assert user_message(ValueError("a fault"), ()) is None
    assert user_message(ValueError(" of \n a package"), ("builtins",)) == "of a package"
