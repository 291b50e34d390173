from pathlib import Path

import pytest

from run_folder import UsageError, refuse_existing


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_exists_is_refused_unless_it_may_be_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    refuse_existing([path, str(path)], overwrite=False)
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path if kind == "link" else tmp_path / "gone")
    with pytest.raises(UsageError, match=r"result.csv exists; give another name, or --overwrite"):
        refuse_existing([path], overwrite=False)
    refuse_existing([path], overwrite=True)
