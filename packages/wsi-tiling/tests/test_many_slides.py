import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from run_folder import LockedError
from wsi_tiling import (
    ProcessTaskExecutor,
    SlideError,
    SlideResults,
    SlideSetAside,
    SlideTiled,
    TileField,
    TileSettings,
    TileTable,
    TissueRule,
    find_tiles,
    open_slide,
    saved_but_not_given,
    saved_tiles,
    slide_identity,
    tile_slides,
    whole_slide_fields,
)
from wsi_tiling.derived_images import is_derived_png
from wsi_tiling.running.executors import Done, Failed

pytestmark = pytest.mark.once

RULE = TissueRule()
FIELDS = (TileField(256, min_tissue=0), TileField(64, overlap=0.25))
SETTINGS = TileSettings(FIELDS, RULE, unstated_mpp=0.5, wanted_mpp=0.5)


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
    """Works tasks off in this process, the last first, and keeps the names of the slides that were tiled."""

    def __init__(self, stop_after: int = 99) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Done[Any] | Failed]:
        for number, path in reversed(list(enumerate(tasks))):
            if work is slide_identity:
                yield Done(number, work(path))
                continue
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
        assert is_derived_png(out / f"{path.stem}.png")


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
    events = list(tile_slides(paths, SETTINGS, tmp_path / "two", executor=ProcessTaskExecutor(2)))
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
    (unknown,) = tile_slides(slides[:1], replace(SETTINGS, unstated_mpp=None), tmp_path / "out")
    assert isinstance(unknown, SlideSetAside)
    assert (unknown.trouble, "mpp" in unknown.reason) == ("unknown scale", True)
    (wrong,) = tile_slides(slides[:1], replace(SETTINGS, unstated_mpp=0.25), tmp_path / "out")
    assert isinstance(wrong, SlideSetAside)
    assert wrong.mpp == 0.25
    assert (wrong.trouble, "0.25 um a pixel, wanted 0.5" in wrong.reason) == ("another scale", True)
    assert not (tmp_path / "out").exists()
    (near,) = tile_slides(slides[:1], replace(SETTINGS, unstated_mpp=0.51), tmp_path / "out")
    assert isinstance(near, SlideTiled)


def set_aside(events: Sequence[SlideTiled | SlideSetAside]) -> dict[str, str]:
    """Names and troubles of the slides that were set aside."""
    return {event.path.name: event.trouble for event in events if isinstance(event, SlideSetAside)}


def test_a_slide_that_states_its_scale_keeps_it(tiled_tiff: Path, slides: list[Path], tmp_path: Path) -> None:
    settings = replace(SETTINGS, unstated_mpp=0.25, wanted_mpp=0.25)  # the TIFF states 0.5
    events = list(tile_slides([tiled_tiff, slides[0]], settings, tmp_path / "out"))
    assert set_aside(events) == {"tiled.tif": "another scale"}
    assert [event.mpp for event in events if isinstance(event, SlideSetAside)] == [0.5]


def test_one_slide_is_tiled_once_whatever_its_files_are_called(slides: list[Path], tmp_path: Path) -> None:
    symlink, hard_link, copy = (tmp_path / f"{name}.png" for name in ("symlink", "hard", "copy"))
    symlink.symlink_to(slides[0])
    hard_link.hardlink_to(slides[0])
    copy.write_bytes(slides[0].read_bytes())
    paths = [*slides, symlink, hard_link, copy]
    for executor in (None, Watched()):
        events = list(tile_slides(paths, SETTINGS, tmp_path / f"out-{executor is None}", executor=executor))
        assert set_aside(events) == {"symlink.png": "twice", "hard.png": "twice", "copy.png": "twice"}
        assert all(str(slides[0]) in event.reason for event in events if isinstance(event, SlideSetAside))
    # A slide that is done keeps its place: its copy is set aside although it comes first now.
    again = Watched()
    events = list(tile_slides([copy, *slides], SETTINGS, tmp_path / "out-True", executor=again))
    assert (set_aside(events), again.seen) == ({"copy.png": "twice"}, [])
    assert set(saved_tiles(tmp_path / "out-True", paths).frame["slide_id"]) == set(map(slide_identity, slides))


def test_two_slides_of_one_name_are_refused(slides: list[Path], tmp_path: Path) -> None:
    (tmp_path / "b.tif").write_text("other")
    with pytest.raises(SlideError, match=r"same name, .*b.png and .*b.tif; give one"):
        list(tile_slides([*slides, tmp_path / "b.tif"], SETTINGS, tmp_path / "out"))
    composed, decomposed = tmp_path / "\u00e9.png", tmp_path / "e\u0301.tif"
    with pytest.raises(SlideError, match="same name"):
        list(tile_slides([composed, decomposed], SETTINGS, tmp_path / "out"))


def test_a_name_that_results_cannot_have_sets_one_slide_aside(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = slides[0].rename(slides[0].with_name("病理切片示例" * 13 + ".png"))  # 238 bytes
    long = slides[1].rename(slides[1].with_name("x" * 250 + ".png"))
    strange = slides[2].with_name(os.fsdecode(b"caf\xe9.png"))
    strange.write_bytes(slides[2].read_bytes())
    out = tmp_path / "out"
    events = list(tile_slides([long, usual, strange, slides[2]], SETTINGS, out))
    assert set_aside(events) == {long.name: "not saved", strange.name: "not saved"}
    assert all("rename it" in event.reason for event in events if isinstance(event, SlideSetAside))
    assert "\\xe9.png" in next(event.reason for event in events if event.path == strange)  # type: ignore[union-attr]
    assert len(saved_tiles(out, [long, usual, slides[2]]).frame["slide"].unique()) == 2

    def save(number: int) -> Callable[..., None]:
        def fails(results: SlideResults, slide: Path, *rest: Any) -> None:
            raise OSError(number, os.strerror(number), str(slide))

        return fails

    monkeypatch.setattr(SlideResults, "save", save(errno.EISDIR))
    assert set_aside(list(tile_slides([slides[2]], SETTINGS, tmp_path / "two"))) == {"c.png": "not saved"}
    monkeypatch.setattr(SlideResults, "save", save(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        list(tile_slides([slides[2]], SETTINGS, tmp_path / "three"))


def test_nothing_of_the_users_is_replaced(slides: list[Path], tmp_path: Path) -> None:
    folder = slides[0].parent
    before = {path: path.read_bytes() for path in slides}
    with pytest.raises(SlideError, match=r"b.png is a slide, and the overview of .*b.png would replace it"):
        list(tile_slides(slides, SETTINGS, folder))
    with pytest.raises(SlideError, match=r"slides exists and holds no tiles of an earlier run"):
        list(tile_slides(slides, SETTINGS, tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.png").write_text("mine")
    with pytest.raises(SlideError, match=r"c.png exists and is no overview"):
        list(tile_slides(slides, SETTINGS, tmp_path / "out"))
    assert (tmp_path / "out" / "c.png").read_text() == "mine"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_run_left_in_its_folder_is_in_nobodys_way(slides: list[Path], tmp_path: Path) -> None:
    left = tmp_path / "out" / "slides" / ".0123456789ab.partial.json"
    left.parent.mkdir(parents=True)
    left.touch()
    assert [event.path for event in tile_slides(slides[:1], SETTINGS, tmp_path / "out")] == slides[:1]


def test_a_folder_takes_one_run_at_a_time(slides: list[Path], tmp_path: Path) -> None:
    first = tile_slides(slides, SETTINGS, tmp_path / "out")
    next(first)
    with pytest.raises(LockedError, match="a run is at work here"):
        list(tile_slides(slides, SETTINGS, tmp_path / "out"))
    assert len(list(first)) == 2
    assert all(event.reused for event in tile_slides(slides, SETTINGS, tmp_path / "out"))  # type: ignore[union-attr]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png", "slides"]


def test_slides_that_are_saved_but_not_given_are_named(slides: list[Path], tmp_path: Path) -> None:
    assert saved_but_not_given(tmp_path / "out", slides) == []
    list(tile_slides(slides, SETTINGS, tmp_path / "out"))
    assert saved_but_not_given(tmp_path / "out", slides[1:]) == slides[:1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TileField(0),
        lambda: TileField(9, overlap=1),
        lambda: TileField(9, min_tissue=2),
        lambda: TileSettings((), RULE),
        lambda: TileSettings((TileField(9), TileField(9)), RULE),
        lambda: TileSettings((TileField(9),), RULE, unstated_mpp=-1),
    ],
)
def test_senseless_settings_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(SlideError, match="wanted"):
        make()
