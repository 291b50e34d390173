from pathlib import Path

import pytest

from run_folder import FolderLock, LockedError, UsageError
from run_folder.outputs import check_ending, own_files, refuse_inside


def test_a_file_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("mine")
    with (
        pytest.raises(UsageError, match=r"out\.json exists; give another name"),
        own_files([path], overwrite=False),
    ):
        pass
    with own_files([path, None], overwrite=True):
        assert path.read_text() == "mine"


def test_no_input_folder_or_other_result_is_replaced(tmp_path: Path) -> None:
    path, folder = tmp_path / "out.json", tmp_path / "folder"
    folder.mkdir()
    for files, inputs, problem in (
        ([path], [path], "is an input of this command"),
        ([path, tmp_path / "." / "out.json"], [None], "is given for two results"),
        ([folder], [], "is a folder; give the name of a file"),
    ):
        with pytest.raises(UsageError, match=problem), own_files(files, overwrite=True, inputs=inputs):
            pass


def test_one_run_at_a_time_writes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with (
        own_files([path], overwrite=False),
        pytest.raises(LockedError),
        FolderLock(path, beside=True),
    ):
        pass
    with own_files([path], overwrite=False):
        pass


def test_names_of_other_kinds_and_folders_inside_inputs_are_refused(tmp_path: Path) -> None:
    check_ending("--out", Path("a.HTML"), ".html", ".htm")
    with pytest.raises(UsageError, match=r"--out a\.png: wanted a name that ends in \.html"):
        check_ending("--out", Path("a.png"), ".html", ".htm")
    refuse_inside(tmp_path / "out", [tmp_path / "images"])
    with pytest.raises(UsageError, match="all of whose images are read"):
        refuse_inside(tmp_path / "out" / "deeper", [tmp_path])
