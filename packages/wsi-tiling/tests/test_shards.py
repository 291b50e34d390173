import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from run_folder import LockedError
from wsi_tiling import (
    LocalTaskExecutor,
    ProcessTaskExecutor,
    ShardSettings,
    ShardTiles,
    Slide,
    SlideError,
    TileTable,
    TissueRule,
    export_shards,
    find_tiles,
    open_slide,
    read_concentric,
    read_labels,
    read_shards,
)
from wsi_tiling.running.executors import Done, Failed

SETTINGS = ShardSettings(32, contexts=((128, 32), (256, 16)), tiles_per_shard=10, seed=5)


@pytest.fixture
def slides(tmp_path: Path, picture: np.ndarray) -> list[Path]:
    """Three exact slides of 256 x 192 px that differ all over."""
    paths = [tmp_path / f"{name}.png" for name in ("one", "two", "three")]
    for number, path in enumerate(paths):
        Image.fromarray(picture[100 * number : 100 * number + 192, 150 * number : 150 * number + 256]).save(path)
    return paths


@pytest.fixture
def table(slides: list[Path]) -> TileTable:
    """36 tiles of 64 px of three slides: 24 to train on."""
    everything = TissueRule.everything()
    tables = []
    for path, split in zip(slides, ("train", "train", "test"), strict=True):
        with open_slide(path) as slide:
            tables.append(find_tiles([slide], field_l0=64, rule=everything, split=split))
    return TileTable.concat(tables)


@pytest.fixture
def labels(slides: list[Path]) -> dict[str, Path]:
    """A label picture for each slide, 16 bits."""
    paths = {path.stem: path.with_name(f"labels-{path.name}") for path in slides}
    for number, path in enumerate(paths.values()):
        Image.fromarray(np.arange(192 * 256, dtype=np.uint16).reshape(192, 256) + np.uint16(number)).save(path)
    return paths


def tar_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def test_tiles_come_back_as_the_slides_have_them(table: TileTable, labels: dict[str, Path], tmp_path: Path) -> None:
    list(export_shards(table, tmp_path / "shards", SETTINGS, masks=labels))
    tiles = ShardTiles(tmp_path / "shards")
    assert len(tiles) == len(table) == 36
    assert tiles.contexts_l0 == (128, 256)
    for row, tile in zip(tiles.frame.itertuples(), tiles, strict=True):
        with open_slide(table.frame.set_index("slide").loc[row.slide, "path"].iloc[0]) as slide:
            centre = (row.x_l0 + 32, row.y_l0 + 32)
            np.testing.assert_array_equal(tile["image"], slide.read((row.x_l0, row.y_l0), 64, 32))
            for name, field, size in (("context-1", 128, 32), ("context-2", 256, 16)):
                np.testing.assert_array_equal(tile[name], read_concentric(slide, centre, [field], size)[0])
        with Image.open(labels[row.slide]) as picture:
            wanted = read_labels(np.asarray(picture).astype(np.uint16), (row.x_l0, row.y_l0), 64, 32)
        np.testing.assert_array_equal(tile["mask"], wanted)
        assert tile["mask"].dtype == np.uint16
        assert tile["key"] == row.key
    key = ["slide", "x_l0", "y_l0"]
    pd.testing.assert_frame_equal(
        tiles.frame.drop(columns="key").sort_values(key, ignore_index=True),
        table.frame.drop(columns="path").sort_values(key, ignore_index=True),
        check_dtype=False,
    )


def test_shards_are_tars_as_webdataset_reads_them(table: TileTable, labels: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "shards"
    list(export_shards(table, out, SETTINGS, masks=labels))
    assert sorted(path.name for path in out.glob("*.tar")) == [
        "test-000000.tar",
        "test-000001.tar",
        "train-000000.tar",
        "train-000001.tar",
        "train-000002.tar",
    ]
    for path, tiles in (("train-000001.tar", 10), ("train-000002.tar", 4), ("test-000001.tar", 2)):
        members = tar_members(out / path)
        # A key ends at the first dot; files of one key lie together.
        keys = [name.partition(".")[0] for name in members]
        assert keys == [key for key in dict.fromkeys(keys) for _ in range(5)]
        assert len(keys) == 5 * tiles
        key = keys[0]
        assert [name.partition(".")[2] for name in members][:5] == [
            *("image.png", "context-1.png", "context-2.png", "mask.png", "json")
        ]
        with Image.open(io.BytesIO(members[f"{key}.image.png"])) as image:
            np.testing.assert_array_equal(np.asarray(image), ShardTiles([out / path])[0]["image"])
        about = json.loads(members[f"{key}.json"])
        assert set(about) == {
            *("patient", "slide", "slide_id", "x_l0", "y_l0", "field_l0", "tissue", "split", "contexts_l0")
        }
        assert about["split"] == path.partition("-")[0]


def test_a_shard_mixes_slides_the_same_way_each_time(table: TileTable, tmp_path: Path) -> None:
    for folder, executor in (("one", LocalTaskExecutor()), ("two", ProcessTaskExecutor(2))):
        list(export_shards(table, tmp_path / folder, SETTINGS, executor=executor))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    frame = ShardTiles(tmp_path / "one", "train").frame
    assert set(frame["slide"][:10]) == {"one", "two"}
    list(export_shards(table, tmp_path / "other", replace(SETTINGS, seed=6)))
    other = ShardTiles(tmp_path / "other", "train").frame
    assert (frame["x_l0"] != other["x_l0"]).any()
    key = ["slide", "x_l0", "y_l0"]
    pd.testing.assert_frame_equal(
        frame[key].sort_values(key, ignore_index=True), other[key].sort_values(key, ignore_index=True)
    )


def test_jpeg_is_nearly_the_picture(slides: list[Path], table: TileTable, tmp_path: Path) -> None:
    smooth = np.mgrid[:192, :256].sum(0)[..., None] // 4 + np.array([90, 40, 100])
    for path in slides:
        Image.fromarray(smooth.astype(np.uint8)).save(path)
    table = TileTable(table.frame.assign(slide_id=""))
    list(export_shards(table, tmp_path / "shards", replace(SETTINGS, format="jpeg", quality=95)))
    tiles = ShardTiles(tmp_path / "shards")
    row = tiles.frame.iloc[0]
    with open_slide(slides[0]) as slide:
        wanted = slide.read((row["x_l0"], row["y_l0"]), 64, 32).astype(int)
    assert np.abs(tiles[0]["image"] - wanted).max() < 6
    assert b"\xff\xd8\xff" in (tmp_path / "shards" / "train-000000.tar").read_bytes()


def test_png_without_compression_is_the_same_picture_in_a_larger_file(table: TileTable, tmp_path: Path) -> None:
    for folder, compress in (("small", True), ("large", False)):
        list(export_shards(table, tmp_path / folder, replace(SETTINGS, compress=compress)))
    small, large = ShardTiles(tmp_path / "small"), ShardTiles(tmp_path / "large")
    for one, other in zip(small, large, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    sizes = [(tmp_path / folder / "train-000000.tar").stat().st_size for folder in ("small", "large")]
    assert sizes[0] < sizes[1]


class Stopped:
    """Writes some shards and then is stopped."""

    def __init__(self, after: int) -> None:
        self.after = after

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Done[Any] | Failed]:
        for number, task in enumerate(tasks):
            if number == self.after:
                raise KeyboardInterrupt
            yield Done(number, work(task))


def test_a_run_that_was_stopped_goes_on_where_it_stopped(table: TileTable, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    with pytest.raises(KeyboardInterrupt):
        list(export_shards(table, out, SETTINGS, executor=Stopped(2)))
    with pytest.raises(SlideError, match="not complete"):
        ShardTiles(out)
    # Stopped in the middle of a shard too: what is left of it is not taken for a shard.
    (out / "train-000000.tar").write_bytes(b"not whole")
    (out / ".train-000001.tar.partial").write_bytes(b"not whole")
    shards = list(export_shards(table, out, SETTINGS))
    assert [(shard.path.name, shard.reused) for shard in shards if shard.reused] == [
        ("test-000000.tar", True),
        ("test-000001.tar", True),
    ]
    assert [shard.tiles for shard in shards] == [10, 2, 10, 10, 4]
    list(export_shards(table, tmp_path / "whole", SETTINGS))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }
    assert all(shard.reused for shard in export_shards(table, out, SETTINGS))


def test_shards_of_other_settings_or_tiles_are_refused_or_dropped(table: TileTable, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    list(export_shards(table, out, SETTINGS))
    before = (out / "train-000000.tar").stat().st_mtime_ns
    fewer = TileTable(table.frame[table.frame["slide"] != "two"])
    for other, settings, difference in (
        (table, replace(SETTINGS, seed=6, format="jpeg"), 'format "png", not "jpeg"; seed 5, not 6'),
        (fewer, SETTINGS, "other tiles"),
    ):
        with pytest.raises(SlideError, match=difference):
            list(export_shards(other, out, settings))
    assert (out / "train-000000.tar").stat().st_mtime_ns == before
    list(export_shards(fewer, out, SETTINGS, overwrite=True))
    assert len(ShardTiles(out)) == 24
    assert not (out / "train-000002.tar").exists()
    (tmp_path / "train-000001.tar").write_text("mine")
    with pytest.raises(SlideError, match=r"train-000001.tar exists, and no export listed it"):
        list(export_shards(table, tmp_path, SETTINGS))
    assert (tmp_path / "train-000001.tar").read_text() == "mine"


def test_overwriting_removes_listed_shards_and_nothing_else(table: TileTable, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    two = TileTable(table.frame[table.frame["slide"] == "one"])
    list(export_shards(two, out, SETTINGS))
    for name in ("train-000002.tar", "test-000000.parquet", "notes.txt"):
        (out / name).write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(SlideError, match=r"test-000000.parquet exists, and no export listed it"):
        list(export_shards(table, out, SETTINGS, overwrite=True))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    list(export_shards(two, out, replace(SETTINGS, seed=6, tiles_per_shard=20), overwrite=True))
    assert sorted(path.name for path in out.iterdir()) == [
        *("notes.txt", "shards.json", "test-000000.parquet"),
        *("train-000000.parquet", "train-000000.tar", "train-000002.tar"),
    ]
    for content in ('{"shards": [{"file": "../x.tar"}], "settings": {}, "masks": false, "tiles": ""}', '{"mine": 1}'):
        (out / "shards.json").write_text(content)
        with pytest.raises(SlideError, match="is not a list of shards"):
            list(export_shards(two, out, SETTINGS, overwrite=True))
    assert (out / "train-000000.tar").exists()


def test_shards_of_slides_or_labels_that_have_changed_are_refused(
    slides: list[Path], table: TileTable, labels: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    list(export_shards(table, out, SETTINGS, masks=labels))
    for path, name in ((slides[1], "slide 'two'"), (labels["one"], "the label picture of slide 'one'")):
        before = path.stat().st_mtime_ns
        os.utime(path, ns=(1, 1))
        with pytest.raises(SlideError, match=f"made with another version of {name}"):
            list(export_shards(table, out, SETTINGS, masks=labels))
        os.utime(path, ns=(before, before))
    assert all(shard.reused for shard in export_shards(table, out, SETTINGS, masks=labels))


def test_slides_that_have_changed_since_they_were_tiled_are_refused(
    slides: list[Path], table: TileTable, tmp_path: Path
) -> None:
    Image.new("RGB", (256, 192)).save(slides[1])
    with pytest.raises(SlideError, match="has changed since its tiles were found"):
        list(export_shards(table, tmp_path / "shards", SETTINGS))
    assert not (tmp_path / "shards").exists()


def test_a_folder_of_shards_takes_one_run_at_a_time(table: TileTable, tmp_path: Path) -> None:
    first = export_shards(table, tmp_path / "shards", SETTINGS)
    next(first)
    with pytest.raises(LockedError, match="a run is at work here"):
        list(export_shards(table, tmp_path / "shards", SETTINGS, overwrite=True))
    assert len(list(first)) == 4


def test_tiles_that_cannot_be_read_are_left_out_and_told(
    table: TileTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Slide.read

    def damaged(slide: Slide, xy_l0: tuple[float, float], *rest: Any) -> Any:
        if slide.path is not None and slide.path.stem == "one" and tuple(xy_l0) in ((0, 0), (64, 128)):
            raise SlideError("one.png is damaged there")
        return read(slide, xy_l0, *rest)

    monkeypatch.setattr(Slide, "read", damaged)
    out = tmp_path / "shards"
    shards = list(export_shards(table, out, SETTINGS))
    assert sum(shard.tiles for shard in shards) == 34
    reasons = [reason for shard in shards for _, reason in shard.left_out]
    assert reasons == ["one.png is damaged there"] * 2
    told = json.loads((out / "shards.json").read_text())["shards"]
    assert sum(len(shard["left_out"]) for shard in told) == 2
    assert len(list(ShardTiles(out))) == 34
    assert sum(len(shard.left_out) for shard in export_shards(table, out, SETTINGS)) == 2


def test_what_does_not_fit_is_refused(
    table: TileTable, slides: list[Path], labels: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "shards"

    def refused(match: str, tiles: TileTable = table, masks: Any = None) -> None:
        with pytest.raises(SlideError, match=match):
            list(export_shards(tiles, out, SETTINGS, masks=masks))

    refused("empty table", TileTable(table.frame[:0]))
    refused("split 'a/b'", TileTable(table.frame.assign(split="a/b")))
    refused("slide 'one' has no label image", masks={})
    refused("none.png", masks=labels | {"one": tmp_path / "none.png"})
    assert not out.exists()
    refused("uint8 or uint16", masks=lambda name, xy_l0, field_l0, size_px: np.zeros((3, 3), np.uint8))
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(labels["one"])
    out = tmp_path / "others"
    refused("256 x 192 px, got 10 x 10 px", masks=labels)
    slides[0].unlink()
    refused("one.png: no such slide, one of 1")


def test_shards_that_workers_did_not_write_are_told_and_written_next_time(table: TileTable, tmp_path: Path) -> None:
    class Dies(LocalTaskExecutor):
        def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Done[Any] | Failed]:
            yield Failed(0, "died", "its process ended unasked, by SIGKILL")
            yield from (Done(number, work(task)) for number, task in enumerate(tasks) if number)

    class FullDisk(LocalTaskExecutor):
        def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Done[Any] | Failed]:
            yield Failed(0, "refused", "full", errno=28)

    with pytest.raises(SlideError, match=r"1 of 5 shards were not written \(test-000000.tar: its process"):
        list(export_shards(table, tmp_path / "shards", SETTINGS, executor=Dies()))
    with pytest.raises(OSError, match="No space left"):
        list(export_shards(table, tmp_path / "shards", SETTINGS, executor=FullDisk()))
    assert [shard.reused for shard in export_shards(table, tmp_path / "shards", SETTINGS)] == [True] * 4 + [False]


def test_any_tile_can_be_read_at_any_time_by_anybody(table: TileTable, tmp_path: Path) -> None:
    list(export_shards(table, tmp_path / "shards", SETTINGS))
    tiles = ShardTiles(tmp_path / "shards", "train")
    wanted = [tile["image"] for tile in tiles]
    copy = pickle.loads(pickle.dumps(tiles))  # noqa: S301
    order = np.random.default_rng(0).permutation(len(tiles)).tolist() * 4
    with ThreadPoolExecutor(4) as threads:
        for draw, tile in zip(order, threads.map(lambda draw: copy[draw], order), strict=True):
            np.testing.assert_array_equal(tile["image"], wanted[draw])
    np.testing.assert_array_equal(tiles[-1]["image"], wanted[-1])
    with pytest.raises(IndexError, match="24 tiles, got number 24"):
        tiles[24]


def test_parts_are_all_tiles_once(table: TileTable, tmp_path: Path) -> None:
    list(export_shards(table, tmp_path / "shards", SETTINGS))
    keys = [tile["key"] for number in range(5) for tile in read_shards(tmp_path / "shards", part=(number, 5))]
    assert sorted(keys) == sorted(ShardTiles(tmp_path / "shards").frame["key"])
    assert [tile["key"] for tile in read_shards(tmp_path / "shards", "test")][:2] == ["test-00000000", "test-00000001"]
    with pytest.raises(SlideError, match="part"):
        read_shards(tmp_path / "shards", part=(5, 5))


def test_a_tar_alone_is_enough(table: TileTable, labels: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "shards"
    list(export_shards(table, out, SETTINGS, masks=labels))
    paths = [out / "train-000001.tar", out / "train-000000.tar"]
    indexed = ShardTiles(paths)
    for path in paths:
        path.with_suffix(".parquet").unlink()
    alone = ShardTiles(paths)
    assert alone.contexts_l0 == indexed.contexts_l0
    pd.testing.assert_frame_equal(alone.frame, indexed.frame)
    for one, other in zip(alone, indexed, strict=True):
        assert one.keys() == other.keys()
        for name in ("image", "context-1", "context-2", "mask"):
            np.testing.assert_array_equal(one[name], other[name])


def test_shards_without_identities_are_read(table: TileTable, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    list(export_shards(TileTable(table.frame.drop(columns="slide_id")), out, SETTINGS))
    index = out / "test-000000.parquet"
    schema = pq.read_schema(index)
    frame = pd.read_parquet(index).drop(columns="slide_id")  # as version 0.1 wrote them
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(schema.metadata), index)
    assert set(ShardTiles(out).frame["slide_id"]) == {""}
    assert set(ShardTiles(out, "test")[3]) == {"key", "image", "context-1", "context-2"}


def test_shards_that_cannot_be_read_are_told(table: TileTable, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    with pytest.raises(SlideError, match=r"no shards here"):
        ShardTiles(tmp_path)
    list(export_shards(table, out, SETTINGS))
    with pytest.raises(SlideError, match="no tiles in split 'validation'"):
        ShardTiles(out, "validation")
    list(export_shards(table, tmp_path / "others", replace(SETTINGS, contexts=())))
    with pytest.raises(SlideError, match="same kinds of images"):
        ShardTiles([out / "test-000000.tar", tmp_path / "others" / "test-000000.tar"])
    shard = out / "test-000000.tar"
    tiles, data = ShardTiles([shard]), bytearray(shard.read_bytes())
    data[600:1500] = bytes(900)
    shard.write_bytes(data)
    with pytest.raises(SlideError, match=r"test-00000000.image.png is damaged"):
        ShardTiles([shard])[0]
    tiles[9]
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(SlideError, match=r"test-000000.tar is cut short"):
        ShardTiles(out)
    shard.with_suffix(".parquet").unlink()
    with pytest.raises(SlideError, match="or it is damaged"):
        ShardTiles(out)
    shard.unlink()
    with pytest.raises(SlideError, match="no such shard"):
        ShardTiles(out)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_px": 0},
        {"contexts": ((0, 32),)},
        {"contexts": ((128, 0),)},
        {"format": "webp"},
        {"quality": 0},
        {"tiles_per_shard": 0},
        {"seed": -1},
    ],
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SlideError, match="wanted"):
        replace(SETTINGS, **wrong)
