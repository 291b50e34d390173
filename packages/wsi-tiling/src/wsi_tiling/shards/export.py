"""Tiles as image files in tar shards, in a random order, ready to be trained on: the layout of WebDataset.

A shard, `train-000003.tar`, holds the files of each tile one after the other: `train-00003000.image.png`,
`train-00003000.context-1.png` and so on, `train-00003000.mask.png`, `train-00003000.json`. Beside it,
`train-000003.parquet` says where in the tar they are. `shards.json` lists all shards, and how they were made.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from run_folder import FolderLock, differences
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide_identity import check_identities
from wsi_tiling.running.executors import Failed, LocalTaskExecutor, TaskExecutor
from wsi_tiling.running.notes import as_json, frame_note, load_json, save_json
from wsi_tiling.shards.writer import ABOUT, Masks, ShardPlan, ShardSettings, WriteShard, index_path
from wsi_tiling.tables.table import TileTable

SHARDS_FILE = "shards.json"
_SPLIT = r"[A-Za-z0-9_-]{1,40}"
_SHARD_NAME = re.compile(rf"{_SPLIT}-\d{{6,}}\.tar")


@dataclass(frozen=True)
class ShardWritten:
    """A shard that is whole.

    Args:
        path: The tar file.
        split: Of its tiles.
        tiles: How many it holds.
        left_out: Keys of tiles that could not be read, with the reasons.
        reused: Whether an earlier run had written it.
        total: How many shards there are to be.
    """

    path: Path
    split: str
    tiles: int
    left_out: tuple[tuple[str, str], ...]
    reused: bool
    total: int


def export_shards(
    table: TileTable,
    out: str | os.PathLike[str],
    settings: ShardSettings,
    *,
    masks: Masks | None = None,
    executor: TaskExecutor | None = None,
    overwrite: bool = False,
) -> Iterator[ShardWritten]:
    """Writes tiles as shards, each split to its own.

    Shards appear under their names when they are whole. Run again with the same tiles and settings, this continues
    where it stopped. Tiles that cannot be read, because their slide is damaged there, are left out and listed.

    Args:
        table: The tiles.
        out: Folder for the shards. One run at a time works in it.
        settings: What they hold.
        masks: What to put beside the images, if anything; executors pickle it.
        executor: Where shards are written, several at once; in this process, one after the other, if not given.
        overwrite: Remove the shards that `shards.json` of this folder lists, and no other file, and start again.
            Without it, shards of other tiles or settings, or of slides that have changed since, are refused.

    Yields:
        Each shard when it is whole: of those written before first.

    Raises:
        SlideError: The folder holds other shards or files of their names; there are no tiles; the name of a split is no
            file name; a slide, a label image or a mask is missing or does not fit, or a slide has changed
            since its tiles were found; or workers died: run again to
            continue.
        LockedError: Another run works in the folder.
        OSError: A file cannot be written.
    """
    out = Path(out)
    plans = _plan(table, settings)
    _check_sources(table, masks)
    wanted = {
        "settings": as_json(asdict(settings)),
        "masks": masks is not None,
        "tiles": _digest(table.frame),
        "sources": _stamps(table, masks),
    }
    with FolderLock(out):
        _prepare(out, plans, wanted, overwrite)
        yield from _export(out, plans, WriteShard(out, settings, masks), wanted, executor or LocalTaskExecutor())


def _export(
    out: Path, plans: list[ShardPlan], write: WriteShard, wanted: Mapping[str, Any], executor: TaskExecutor
) -> Iterator[ShardWritten]:
    """Writes the shards that are not whole yet; see `export_shards`."""
    if not (out / SHARDS_FILE).exists():
        files = [{"file": plan.name, "split": plan.split, "tiles": len(plan.rows)} for plan in plans]
        save_json({**wanted, "complete": False, "shards": files}, out / SHARDS_FILE)
    to_do, died = [], []
    whole: dict[str, ShardWritten] = {}
    for plan in plans:
        found = _written(out, plan, len(plans), reused=True)
        if found is None:
            to_do.append(plan)
        else:
            whole[plan.name] = found
            yield found
    for outcome in executor.run(write, to_do):
        plan = to_do[outcome.number]
        if isinstance(outcome, Failed):
            if outcome.errno is not None:
                raise OSError(outcome.errno, os.strerror(outcome.errno), str(out / plan.name))
            if outcome.kind not in ("died", "too slow"):
                raise SlideError(outcome.reason)
            died.append(f"{plan.name}: {outcome.reason}")
            continue
        found = _written(out, plan, len(plans), reused=False)
        if found is None:
            raise SlideError(
                f"{out / plan.name} was written, but does not exist here: all workers have to share the folder"
            )
        whole[plan.name] = found
        yield found
    if died:
        raise SlideError(f"{len(died)} of {len(plans)} shards were not written ({died[0]}); run again to try again")
    described = [_described(whole[plan.name]) for plan in plans]
    save_json({**wanted, "complete": True, "shards": described}, out / SHARDS_FILE)


def _plan(table: TileTable, settings: ShardSettings) -> list[ShardPlan]:
    if not len(table):
        raise SlideError("wanted tiles to export, got an empty table")
    plans = []
    for name, rows in table.frame.groupby("split"):
        split = str(name)
        if not re.fullmatch(_SPLIT, split):
            raise SlideError(f"split '{split}': wanted letters, digits, - and _ only, since files are named after it")
        number = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")
        drawn = rows.iloc[np.random.default_rng([settings.seed, number]).permutation(len(rows))]
        for shard, first in enumerate(range(0, len(drawn), settings.tiles_per_shard)):
            part = drawn.iloc[first : first + settings.tiles_per_shard].reset_index(drop=True)
            plans.append(ShardPlan(f"{split}-{shard:06d}.tar", split, first, part))
    return plans


def _check_sources(table: TileTable, masks: Masks | None) -> None:
    slides = table.frame[["slide", "path"]].drop_duplicates()
    missing = [str(path) for path in slides["path"] if not Path(path).is_file()]
    if missing:
        raise SlideError(
            f"{missing[0]}: no such slide, one of {len(missing)} that are missing from the paths in the table"
        )
    if isinstance(masks, Mapping):
        without = sorted(set(slides["slide"]) - masks.keys())
        missing = [str(masks[name]) for name in slides["slide"] if name in masks and not Path(masks[name]).is_file()]
        if without or missing:
            problem = f"slide '{without[0]}' has no label image" if without else f"{missing[0]}: no such label image"
            raise SlideError(f"{problem}, one of {len(without) + len(missing)}; {len(slides)} slides have tiles")
    check_identities(table.frame[["path", "slide_id"]].drop_duplicates().itertuples(index=False, name=None))


def _stamps(table: TileTable, masks: Masks | None) -> dict[str, list[int]]:
    """Size and time of change of each slide and label image, by its kind and the slide's name."""
    slides = table.frame[["slide", "path"]].drop_duplicates()
    files = {f"slide '{name}'": Path(path) for name, path in slides.itertuples(index=False)}
    if isinstance(masks, Mapping):  # these names are in the records of shards: they stay as they are
        files |= {f"the label picture of slide '{name}'": Path(masks[name]) for name in slides["slide"]}
    return {name: [status.st_size, status.st_mtime_ns] for name, path in files.items() for status in [path.stat()]}


def _digest(frame: pd.DataFrame) -> str:
    """Stands for the tiles and their order, wherever the slides lie."""
    digest = hashlib.sha256()
    known = frame["slide_id"].any()  # tables of version 0.1 have none, and the shards of these are theirs still
    for name in ABOUT if known else [name for name in ABOUT if name != "slide_id"]:
        column = frame[name]
        numbers = column.dtype.kind in "iuf"
        digest.update(column.to_numpy().tobytes() if numbers else "\0".join(column).encode())
        digest.update(b"\0\0")
    return digest.hexdigest()


def _prepare(out: Path, plans: list[ShardPlan], wanted: Mapping[str, Any], overwrite: bool) -> None:
    """Makes sure that the folder belongs to this export; removes the listed shards if they are to be overwritten.

    Raises:
        SlideError: It belongs to another, which is not to be overwritten; or a file that no export listed has the name
            of a shard.
    """
    record = load_json(out / SHARDS_FILE)
    listed = _listed(out, record) if record is not None else set()
    names = {name for plan in plans for name in (plan.name, index_path(out / plan.name).name)}
    strange = sorted(name for name in names - listed if os.path.lexists(out / name))
    if strange:
        raise SlideError(f"{out / strange[0]} exists, and no export listed it; move it away, or give another folder")
    if record is None:
        return
    if overwrite:
        for name in sorted(listed):
            (out / name).unlink(missing_ok=True)
        (out / SHARDS_FILE).unlink()
        return
    changed = list(differences(record["settings"], wanted["settings"]))
    changed += differences(record["masks"], wanted["masks"], "masks")
    if record["tiles"] != wanted["tiles"]:
        changed.append("other tiles")
    else:
        before, now = record.get("sources", wanted["sources"]), wanted["sources"]
        changed += [f"another version of {name}" for name in now if before.get(name) != now[name]][:1]
    if changed:
        raise SlideError(f"{out} holds shards that were made with {'; '.join(changed)}: give another folder")


def _listed(out: Path, record: Mapping[str, Any]) -> set[str]:
    """The names of the shards that an export listed, and of their indexes.

    Raises:
        SlideError: The list is not that of an export.
    """
    try:
        names = [str(shard["file"]) for shard in record["shards"]]
        known = {"settings", "masks", "tiles"} <= record.keys()
    except (KeyError, TypeError):
        names, known = [], False
    if not known or not all(_SHARD_NAME.fullmatch(name) for name in names):
        raise SlideError(f"{out / SHARDS_FILE} is not a list of shards; move it away, or give another folder")
    return {*names, *(index_path(out / name).name for name in names)}


def _written(out: Path, plan: ShardPlan, total: int, *, reused: bool) -> ShardWritten | None:
    """Describes a shard that is whole, which its index, written last, shows; None if it is not."""
    path = out / plan.name
    note = frame_note(index_path(path))
    if note is None or not path.is_file():
        return None
    left_out = tuple((str(key), str(reason)) for key, reason in note["left_out"])
    return ShardWritten(path, plan.split, len(plan.rows) - len(left_out), left_out, reused, total)


def _described(shard: ShardWritten) -> dict[str, Any]:
    return {
        "file": shard.path.name,
        "split": shard.split,
        "tiles": shard.tiles,
        "bytes": shard.path.stat().st_size,
        "left_out": [{"key": key, "reason": reason} for key, reason in shard.left_out],
    }
