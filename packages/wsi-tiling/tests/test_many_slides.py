import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsi_tiling import (
    ProcessesExecutor,
    SlideError,
    SlideSetAside,
    SlideTiled,
    TileField,
    TileSettings,
    TileTable,
    TissueRule,
    find_tiles,
    open_slide,
    saved_tiles,
    slide_files,
    tile_slides,
    whole_slide_fields,
)
from wsi_tiling.executors import Done, Failed

RULE = TissueRule()
SETTINGS = TileSettings((TileField(256, min_tissue=0), TileField(64, overlap=0.25)), RULE, mpp=0.5, wanted_mpp=0.5)


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """Three pictures of glass with a purple square, each elsewhere."""
    folder = tmp_path / "slides"
    folder.mkdir()
    paths = [folder / f"{name}.png" for name in ("b", "a", "c")]
    for number, path in enumerate(paths):
        pixels = np.full((200, 300, 3), 243, np.uint8)
        pixels[40:150, 30 + 60 * number : 150 + 60 * number] = (110, 60, 150)
        Image.fromarray(pixels).save(path)
    return paths


def names(events: Sequence[SlideTiled | SlideSetAside]) -> list[str]:
    return [event.path.stem for event in events]


class Watched:
    """Works tasks off in this process, the last first, and keeps what it was given."""

    def __init__(self, stop_after: int = 99) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Done[Any] | Failed]:
        for number, path in reversed(list(enumerate(tasks))):
            if len(self.seen) == self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(path.stem)
            yield Done(number, work(path))


def test_tiles_are_those_of_slides_one_by_one_in_the_order_of_their_paths(slides: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = list(tile_slides(slides, SETTINGS, out, executor=Watched()))
    assert names(events) == ["c", "a", "b"]
    wanted = []
    for path in slides:
        with open_slide(path) as slide:
            wanted.append(find_tiles([slide], field_l0=256, rule=RULE, min_tissue=0))
            wanted.append(find_tiles([slide], field_l0=64, rule=RULE, overlap=0.25))
    pd.testing.assert_frame_equal(saved_tiles(out, slides).frame, TileTable.concat(wanted).frame)
    assert len(saved_tiles(out, slides)) > 10
    for path in slides:
        with Image.open(out / f"{path.stem}.png") as picture:
            assert picture.size[0] == 1024


def test_the_first_field_may_show_whole_slides(slides: list[Path], tmp_path: Path) -> None:
    whole = TileField(180, min_tissue=0.0, whole_slide="cover")
    settings = TileSettings((whole, TileField(64, half_shifts=True)), RULE, overview_px=0)
    (event,) = tile_slides(slides[:1], settings, tmp_path / "out")
    assert isinstance(event, SlideTiled)
    with open_slide(slides[0]) as slide:
        cover = whole_slide_fields(slide, 180, larger="cover", rule=RULE)
        shifted = find_tiles([slide], field_l0=64, rule=RULE, half_shifts=True)
    pd.testing.assert_frame_equal(event.table.frame, TileTable.concat([cover, shifted]).frame)
    assert not list((tmp_path / "out").glob("*.png"))


def test_workers_change_nothing_and_bad_slides_are_set_aside(slides: list[Path], tmp_path: Path) -> None:
    text, half = tmp_path / "text.svs", tmp_path / "half.png"
    text.write_text("no slide")
    half.write_bytes(slides[0].read_bytes()[:300])
    paths = [text, *slides, half]
    alone = [event for event in tile_slides(paths, SETTINGS, tmp_path / "one") if isinstance(event, SlideTiled)]
    events = list(tile_slides(paths, SETTINGS, tmp_path / "two", executor=ProcessesExecutor(2)))
    tiled = [event for event in events if isinstance(event, SlideTiled)]
    assert sorted(names(tiled)) == sorted(names(alone)) == ["a", "b", "c"]
    one, two = (saved_tiles(tmp_path / name, paths).frame for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    for event in set(events) - set(tiled):
        assert isinstance(event, SlideSetAside)
        assert (event.trouble, event.path.name in event.reason) == ("unreadable", True)


def test_a_run_that_was_stopped_goes_on_where_it_stopped(slides: list[Path], tmp_path: Path) -> None:
    out, executor = tmp_path / "out", Watched(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        list(tile_slides(slides, SETTINGS, out, executor=executor))
    assert executor.seen == ["c", "a"]
    rest = Watched()
    events = list(tile_slides(slides, SETTINGS, out, executor=rest))
    assert rest.seen == ["b"]
    assert [(event.path.stem, event.reused) for event in events if isinstance(event, SlideTiled)] == [
        ("a", True),
        ("c", True),
        ("b", False),
    ]
    list(tile_slides(slides, SETTINGS, tmp_path / "whole"))
    frames = (saved_tiles(folder, slides).frame for folder in (out, tmp_path / "whole"))
    pd.testing.assert_frame_equal(*frames)


def test_a_slide_that_has_changed_and_one_that_was_set_aside_are_looked_at_again(
    slides: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = slides[0].read_bytes()
    slides[0].write_bytes(whole[:300])
    assert names([e for e in tile_slides(slides, SETTINGS, out) if isinstance(e, SlideSetAside)]) == ["b"]
    slides[0].write_bytes(whole)
    os.utime(slides[1], ns=(1, 1))
    (out / "c.png").unlink()
    again = Watched()
    assert all(isinstance(event, SlideTiled) for event in tile_slides(slides, SETTINGS, out, executor=again))
    assert sorted(again.seen) == ["a", "b", "c"]
    none = Watched()
    list(tile_slides(slides, SETTINGS, out, executor=none))
    assert none.seen == []


def test_other_settings_are_refused_and_named(slides: list[Path], tmp_path: Path) -> None:
    list(tile_slides(slides[:1], SETTINGS, tmp_path / "out"))
    other = replace(SETTINGS, rule=replace(RULE, min_hue=0.8))
    with pytest.raises(SlideError, match=r"other settings, rule.min_hue 0.5, not 0.8:"):
        list(tile_slides(slides, other, tmp_path / "out"))


def test_slides_of_another_or_an_unknown_scale_are_set_aside(slides: list[Path], tmp_path: Path) -> None:
    (unknown,) = tile_slides(slides[:1], replace(SETTINGS, mpp=None), tmp_path / "out")
    assert isinstance(unknown, SlideSetAside)
    assert (unknown.trouble, "mpp" in unknown.reason) == ("unknown scale", True)
    (wrong,) = tile_slides(slides[:1], replace(SETTINGS, mpp=0.25), tmp_path / "out")
    assert isinstance(wrong, SlideSetAside)
    assert wrong.mpp == 0.25
    assert (wrong.trouble, "0.25 um a pixel, wanted 0.5" in wrong.reason) == ("another scale", True)
    assert not (tmp_path / "out").exists()
    (near,) = tile_slides(slides[:1], replace(SETTINGS, mpp=0.51), tmp_path / "out")
    assert isinstance(near, SlideTiled)


def test_one_file_is_not_tiled_under_two_names(slides: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(slides[0])
    events = list(tile_slides([*slides, link], SETTINGS, tmp_path / "out"))
    (twice,) = [event for event in events if isinstance(event, SlideSetAside)]
    assert (twice.path, twice.trouble) == (link, "twice")
    (tmp_path / "b.tif").write_text("other")
    with pytest.raises(SlideError, match="two slides have the same name"):
        list(tile_slides([*slides, tmp_path / "b.tif"], SETTINGS, tmp_path / "out"))


def test_slides_are_files_folders_and_patterns(slides: list[Path], tmp_path: Path) -> None:
    folder = slides[0].parent
    deep = folder / "more" / "D.SVS"
    deep.parent.mkdir()
    for path in (deep, folder / ".hidden.svs", folder / "notes.txt", folder / "out" / "a.png"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found = slide_files([slides[2], folder], without=[folder / "out"])
    assert [path.relative_to(folder).as_posix() for path in found] == ["c.png", "a.png", "b.png", "more/D.SVS"]
    assert slide_files([f"{folder}/**/*.SVS", f"{folder}/a*"]) == [deep, slides[1]]
    assert slide_files([tmp_path / "none.svs"]) == [tmp_path / "none.svs"]
    for nothing in (f"{folder}/*.ndpi", folder / "empty"):
        (folder / "empty").mkdir(exist_ok=True)
        with pytest.raises(SlideError, match="no slides in this"):
            slide_files([nothing])


@pytest.mark.parametrize(
    "make",
    [
        lambda: TileField(0),
        lambda: TileField(9, overlap=1),
        lambda: TileField(9, min_tissue=2),
        lambda: TileSettings((), RULE),
        lambda: TileSettings((TileField(9), TileField(9)), RULE),
        lambda: TileSettings((TileField(9),), RULE, mpp=-1),
    ],
)
def test_senseless_settings_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(SlideError, match="wanted"):
        make()
