import os
from pathlib import Path
from typing import Any

import pytest

from image_files import ImageFileError, list_images, paths_by_stem


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_below_and_links_to_folders_are_entered_once(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("in/b.png", "in/a/z.TIF", "elsewhere/x.jpg", "elsewhere/deep/y.jpg")))
    (tmp_path / "in/b").symlink_to("../elsewhere")
    (tmp_path / "in/again").symlink_to("../elsewhere")
    (tmp_path / "in/a/circle").symlink_to("..")
    (tmp_path / "in/link.png").symlink_to("../elsewhere/x.jpg")
    found = list_images(tmp_path / "in")
    assert found.names == ("a/z.TIF", "again/deep/y.jpg", "again/x.jpg", "b.png", "link.png")
    assert found.paths[0] == tmp_path / "in/a/z.TIF"
    assert found.notes == ("linked folders that are in already left out: 2 (b, a/circle)",)


def test_what_is_left_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(
        *(tmp_path / name for name in ("a.png", "b.csv", "c.csv", "d.txt", "locked/e.png", ".hidden.png", ".h/f.png"))
    )
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "gone").symlink_to("gone")
    scan = os.scandir

    def locked(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = list_images(tmp_path)
    assert found.names == ("a.png",)
    assert found.notes == (
        "files with other endings left out: 3 (.csv, .txt)",
        "links that lead nowhere left out: 2 (gone, gone.png)",
        "files or folders that cannot be read left out: 1 (locked)",
    )


def test_a_folder_without_images_or_none_at_all(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "below/b.png")
    assert list_images(tmp_path, {".xml"}).names == ()
    with pytest.raises(ImageFileError, match="nowhere: no such folder"):
        list_images(tmp_path / "nowhere")


def test_two_files_of_one_stem_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path / "x.png", tmp_path / "y.png", tmp_path / "below/x.jpg")
    with pytest.raises(ImageFileError, match=r"called x: .*below/x\.jpg and .*x\.png; rename or remove"):
        paths_by_stem(list_images(tmp_path).paths)
    assert list(paths_by_stem([tmp_path / "y.png", tmp_path / "a.png"])) == ["y", "a"]
    with pytest.raises(ImageFileError, match="two files are called"):
        paths_by_stem([tmp_path / "caf\u00e9.png", tmp_path / "cafe\u0301.png"])
