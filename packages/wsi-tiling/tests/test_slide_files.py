import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_tiling import Image as Pixels
from wsi_tiling import SlideError, SlideSearch, derived_png, find_slides, slide_files
from wsi_tiling.derived_images import is_derived_png


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return paths


def listed(search: SlideSearch, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in search.slides]


def counts(search: SlideSearch) -> dict[str, int]:
    return {over.kind: over.count for over in search.passed_over}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of slides with links, hidden files and files of other kinds."""
    folder = tmp_path / "slides"
    touch(folder, "c.png", "a.png", "more/D.SVS", ".hidden.svs", ".trash/x.svs", "notes.txt", "out/a.png")
    touch(tmp_path / "disk", "batch/two.tif", "batch/deep/three.tif")
    (folder / "linked").symlink_to(tmp_path / "disk" / "batch")
    (folder / "more" / "up").symlink_to(folder)
    (tmp_path / "disk" / "batch" / "circle").symlink_to(tmp_path / "disk" / "batch")
    (folder / "gone.svs").symlink_to(tmp_path / "nowhere.svs")
    (folder / "itself").symlink_to(folder / "itself")
    return folder


def test_folders_follow_links_once_and_say_what_they_pass_over(folder: Path) -> None:
    search = find_slides([folder / "c.png", folder], without=[folder / "out"])
    assert listed(search, folder) == ["c.png", "a.png", "linked/deep/three.tif", "linked/two.tif", "more/D.SVS"]
    assert counts(search) == {"other": 1, "hidden": 2, "dangling": 2, "searched": 2, "output": 1}
    assert f"1 file that is not a slide by its name, {folder / 'notes.txt'}" in map(str, search.passed_over)
    assert f"2 hidden files or folders, such as {folder / '.hidden.svs'}" in map(str, search.passed_over)


def test_patterns_find_what_folders_find(folder: Path) -> None:
    for suffix, names in (("tif", ["linked/deep/three.tif", "linked/two.tif"]), ("SVS", ["more/D.SVS"])):
        search = find_slides([f"{folder}/**/*.{suffix}"], without=[folder / "out"])
        assert listed(search, folder) == names
        assert counts(search) == {"hidden": 2, "searched": 2, "dangling": 2, "output": 1}
    assert slide_files([f"{folder}/[ac].p*"]) == [folder / "a.png", folder / "c.png"]
    assert slide_files([f"{folder}/*/*.tif"]) == [folder / "linked" / "two.tif"]
    assert slide_files([f"{folder}/.h*.svs"]) == [folder / ".hidden.svs"]
    assert slide_files([folder / "none.svs"]) == [folder / "none.svs"]
    (bracket,) = touch(folder, "x[1].svs")
    assert slide_files([bracket]) == [bracket]


def test_where_there_are_no_slides_the_message_says_what_there_is(folder: Path) -> None:
    (folder / "empty").mkdir()
    for place, words in (
        (folder / "empty", "no slides in this folder$"),
        (f"{folder}/**/*.ndpi", "no slides in this pattern, but .*2 hidden files or folders"),
        (f"{folder}/mor[e]", "no slides in this pattern, but 1 folder that matches the pattern, .*more"),
        (f"{folder}/nowhere/*.svs", "no slides in this pattern$"),
    ):
        with pytest.raises(SlideError, match=words):
            find_slides([place])
    touch(folder, "only/out/a.png")
    with pytest.raises(SlideError, match=r"no slides in this folder, but 1 folder for the results, .*only/out"):
        find_slides([folder / "only"], without=[folder / "only" / "out"])
    # Slides that lie in the folder of the results are taken where they are asked for.
    assert slide_files([folder / "only" / "out"], without=[folder / "only"]) == [folder / "only" / "out" / "a.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read everything")
def test_a_folder_that_cannot_be_read_is_counted(folder: Path) -> None:
    (folder / "out").chmod(0)
    try:
        assert counts(find_slides([folder]))["unreadable"] == 1
    finally:
        (folder / "out").chmod(0o755)


def test_an_unreadable_folder_is_counted_and_does_not_end_the_search(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "out":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    search = find_slides([folder])
    assert counts(search)["unreadable"] == 1
    assert "more/D.SVS" in listed(search, folder)


def test_pictures_that_a_hamamatsu_index_names_are_no_slides(tmp_path: Path) -> None:
    touch(tmp_path, "s(0,0).jpg", "s(1,0).jpg", "s_map.jpg", "s_macro.jpg", "other.jpg")
    (tmp_path / "s.vms").write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=s(0,0).jpg\nImageFile(1,0)=s(1,0).jpg\n"
        "MapFile=s_map.jpg\nMacroImage=s_macro.jpg\nOptimisationFile=\n"
    )
    for place in (str(tmp_path), f"{tmp_path}/*"):
        search = find_slides([place])
        assert (listed(search, tmp_path), counts(search)) == (["other.jpg", "s.vms"], {"vms": 4})


def test_pictures_made_of_slides_are_no_slides(tmp_path: Path, picture: Pixels) -> None:
    (tmp_path / "s.png").write_bytes(derived_png(picture))
    Image.fromarray(picture).save(tmp_path / "slide.png")
    with Image.open(tmp_path / "s.png") as preview:
        np.testing.assert_array_equal(np.asarray(preview), picture)
    for place in (str(tmp_path), f"{tmp_path}/*.png"):
        search = find_slides([place])
        assert (listed(search, tmp_path), counts(search)) == (["slide.png"], {"derived": 1})
    assert slide_files([tmp_path / "s.png"]) == [tmp_path / "s.png"]
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt"):
        (tmp_path / "short.png").write_bytes(content)
        assert not is_derived_png(tmp_path / "short.png")
    assert not is_derived_png(tmp_path / "none.png")
