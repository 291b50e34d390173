import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from run_folder import FolderLock, LockedError, RunFolder, RunFolderError, differences


def run(folder: Path, **options: Any) -> RunFolder:
    return RunFolder(folder, "tool cut", options.pop("settings", {"mpp": 0.5}), **options)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def finished(folder: Path) -> None:
    with run(folder) as begun:
        begun.claim("table", patterns=["slides/*.parquet"])
        write(folder, "table", "slides/a.parquet", "slides/b.parquet")


def test_the_users_files_are_never_the_runs(tmp_path: Path) -> None:
    write(tmp_path, "slides/a.parquet", "table", "model/x")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        for claim in (("table",), ("model",), ("slides",)):
            with (
                run(tmp_path, **options) as begun,
                pytest.raises(RunFolderError, match="no run of tool cut recorded"),
            ):
                begun.claim(*claim)
        for pattern in ("slides/*.parquet", "slides/*.json"):
            with run(tmp_path, **options) as begun, pytest.raises(RunFolderError, match="exists, and no run of"):
                begun.claim(patterns=[pattern])
        (tmp_path / "empty").mkdir(exist_ok=True)
        with run(tmp_path, **options) as begun:
            begun.claim("empty/a.json")  # nobody's
        (tmp_path / ".tool-cut.json").unlink()
    assert files(tmp_path) == ["model/x", "slides/a.parquet", "table"]


def test_overwrite_removes_what_the_record_lists_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out)
    write(out, "slides/notes.csv", "mine", "model/x")
    with pytest.raises(RunFolderError, match="holds a run of tool cut; resume it"), run(out):
        pass
    assert (out / "table").exists()
    with run(out, overwrite=True):
        pass
    assert (out / "table").exists()  # nothing was claimed, so nothing is lost
    with run(out, overwrite=True) as begun:
        begun.claim("table")
        assert not begun.resumed
        assert files(out) == [".lock", ".tool-cut.json", "mine", "model/x", "slides/notes.csv"]
    finished(tmp_path / "second")
    with run(tmp_path / "second", overwrite=True) as begun:
        begun.claim("table")
        assert files(tmp_path / "second") == [".lock", ".tool-cut.json"]
        assert not (tmp_path / "second" / "slides").exists()


def test_overwrite_loses_nothing_where_something_of_the_users_is_in_the_way(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "slides" / "link").symlink_to(tmp_path)
    for own in ("slides/notes.csv", "slides/below/notes.csv", "new", "slides/link"):
        if own != "slides/link":
            write(tmp_path, own)
        before = files(tmp_path)
        with (
            run(tmp_path, overwrite=True) as begun,
            pytest.raises(RunFolderError, match="exists, and no run of tool cut recorded"),
        ):
            begun.claim("table", "new", patterns=["slides/*.parquet"])
        assert files(tmp_path) == before
        (tmp_path / own).unlink()
    with run(tmp_path, overwrite=True) as begun:
        begun.claim("table", "new", patterns=["slides/*.parquet"])
    assert files(tmp_path) == [".tool-cut.json"]


def test_what_killed_processes_left_is_in_nobodys_way(tmp_path: Path) -> None:
    finished(tmp_path)
    for name in ("slides/.lock", "slides/.0123456789ab.partial.parquet", "parts/.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with run(tmp_path, overwrite=True) as begun:
        begun.claim("table", patterns=["slides/*.parquet", "parts/*.parquet"])
    assert files(tmp_path) == [".tool-cut.json", "parts/.lock"]


def test_resume_keeps_everything_and_wants_the_same_settings(tmp_path: Path) -> None:
    finished(tmp_path)
    with run(tmp_path, resume=True) as begun:
        assert begun.resumed
        begun.claim("table", "more", patterns=["slides/*.parquet"])
        write(tmp_path, "more")
    assert [path.name for path in begun.outputs()] == ["more", "a.parquet", "b.parquet", "table"]
    with (
        pytest.raises(RunFolderError, match=r"other settings \(mpp 0.5, not 0.25\)"),
        run(tmp_path, settings={"mpp": 0.25}, resume=True),
    ):
        pass


def test_an_input_is_never_removed(tmp_path: Path) -> None:
    finished(tmp_path)
    for taken in (tmp_path / "table", tmp_path / "slides"):
        with (
            pytest.raises(RunFolderError, match="is an input of this run"),
            run(tmp_path, overwrite=True, inputs=[taken]),
        ):
            pass
    assert (tmp_path / "table").exists()
    assert (tmp_path / "slides" / "a.parquet").exists()


def test_two_runs_at_once(tmp_path: Path) -> None:
    with run(tmp_path) as begun:
        begun.claim("table")
        with pytest.raises(LockedError), run(tmp_path, overwrite=True):
            pass


def test_a_part_that_is_at_work_is_not_dropped(tmp_path: Path) -> None:
    finished(tmp_path)
    with FolderLock(tmp_path / "slides"), run(tmp_path, overwrite=True) as begun, pytest.raises(LockedError):
        begun.claim("table")
    assert (tmp_path / "slides" / "a.parquet").exists()
    with run(tmp_path, overwrite=True) as begun:
        begun.claim("table")
    assert files(tmp_path) == [".tool-cut.json"]


def test_what_ends_without_output_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), run(tmp_path / "a" / "b") as begun:
        begun.claim("table")
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()


def test_names_are_literal_and_stay_inside(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    with run(tmp_path) as begun:
        begun.claim("[a].png")  # no pattern: a.png is the user's
        write(tmp_path, "[a].png")
        for name in ("../x", "/x", ""):
            with pytest.raises(RunFolderError, match="not a name inside"):
                begun.claim(name)
    with run(tmp_path, overwrite=True) as begun:
        begun.claim("b.png")
    assert files(tmp_path) == [".tool-cut.json", "a.png"]


def test_links_are_removed_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "users/x")
    out = tmp_path / "out"
    with run(out) as begun:
        begun.claim("linked")
        (out / "linked").symlink_to(tmp_path / "users")
    with run(out, overwrite=True) as begun:
        begun.claim("b")
    assert files(tmp_path) == ["out/.tool-cut.json", "users/x"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "settings": 3, "files": [], "patterns": []}']
)
def test_damaged_records_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / ".tool-cut.json").write_text(text)
    with pytest.raises(RunFolderError, match="is damaged"), run(tmp_path, overwrite=True):
        pass


def test_records_cannot_point_outside(tmp_path: Path) -> None:
    write(tmp_path, "mine", "out/x")
    record = {"format": 1, "settings": {}, "files": ["../mine"], "patterns": []}
    (tmp_path / "out" / ".tool-cut.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match="not a name inside"), run(tmp_path / "out", overwrite=True):
        pass
    assert (tmp_path / "mine").exists()


def test_differences() -> None:
    old, new = {"rule": {"hue": 0.5}, "sizes": [1, 2]}, {"rule": {"hue": 0.8}, "sizes": [1, 3], "more": True}
    assert list(differences(old, new)) == ["rule.hue 0.5, not 0.8", "sizes.1 2, not 3", "more null, not true"]
