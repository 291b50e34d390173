import os
from pathlib import Path
from typing import Any

from run_folder import Walk


def walked(folder: Path, **options: Any) -> tuple[list[str], list[tuple[str, str]]]:
    obstacles: list[tuple[str, str]] = []
    walk = Walk(folder, lambda kind, path: obstacles.append((kind, path.relative_to(folder).as_posix())), **options)
    return [path.relative_to(folder).as_posix() for path in walk.files()], obstacles


def test_linked_folders_are_entered_once_and_after_the_real_ones(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("in/1", "in/b/2", "in/.hidden", "elsewhere/3"):
        (tmp_path / name).touch()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    os.mkfifo(tmp_path / "in" / "pipe")
    files, obstacles = walked(tmp_path / "in")
    assert files == ["1", "b/2", "far/3"]
    assert sorted(obstacles) == [
        ("dangling", "gone"),
        ("dangling", "self"),
        ("hidden", ".hidden"),
        ("searched", "a"),
        ("searched", "circle"),
        ("unreadable", "pipe"),
    ]
    assert walked(tmp_path / "in", hidden=True)[0] == [".hidden", "1", "b/2", "far/3"]


def test_folders_that_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    (tmp_path / "y").touch()
    assert walked(tmp_path, without=[tmp_path / "out"]) == (["y"], [("output", "out")])
    assert walked(tmp_path, without=[tmp_path]) == (["y", "out/x"], [])  # asked for by name
    assert walked(tmp_path, enters=lambda folder: False) == (["y"], [])
