"""Tiles as image files in tar shards, in a drawn order, ready to be trained on: the layout of WebDataset.

A shard, `train-000003.tar`, holds the files of each tile one after the other: `train-00003000.image.png`,
`train-00003000.context-1.png` and so on, `train-00003000.mask.png`, `train-00003000.json`. Beside it,
`train-000003.parquet` tells where in the tar they are. `shards.json` tells of all shards, and how they were made.
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

from wsi_tiling.errors import SlideError
from wsi_tiling.executors import Executor, Failed, InProcessExecutor
from wsi_tiling.notes import as_json, differences, frame_note, load_json, save_json
from wsi_tiling.shard_file import ABOUT, Masks, ShardPlan, ShardSettings, WriteShard, index_path
from wsi_tiling.table import TileTable

SHARDS_FILE = "shards.json"


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
    out: Path,
    settings: ShardSettings,
    *,
    masks: Masks | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
) -> Iterator[ShardWritten]:
    """Writes tiles as shards, each split to its own.

    Shards appear under their names when they are whole. Run again with the same tiles and settings, this goes on where
    it stopped. Tiles that cannot be read, because their slide is damaged there, are left out and told.

    Args:
        table: The tiles.
        out: Folder for the shards.
        settings: What they hold.
        masks: What to put beside the pictures, if anything; executors pickle it.
        executor: Where shards are written, several at once; in this process, one after the other, if not given.
        overwrite: Drop the shards of other tiles or settings in this folder; they are refused otherwise.

    Yields:
        Each shard when it is whole: of those written before first.

    Raises:
        SlideError: The folder holds other shards; there are no tiles; the name of a split is no file name; a slide, a
            label picture or a mask is missing or does not fit; or workers died: run again to go on.
        OSError: A file cannot be written.
    """
    out = Path(out)
    plans = _plan(table, settings)
    _check_sources(table, masks)
    wanted = {"settings": as_json(asdict(settings)), "masks": masks is not None, "tiles": _digest(table.frame)}
    _clear_the_way(out, plans, wanted, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / SHARDS_FILE).exists():
        files = [{"file": plan.name, "split": plan.split, "tiles": len(plan.rows)} for plan in plans]
        save_json(wanted | {"complete": False, "shards": files}, out / SHARDS_FILE)

    to_do, died = [], []
    whole: dict[str, ShardWritten] = {}
    for plan in plans:
        found = _written(out, plan, len(plans), reused=True)
        if found is None:
            to_do.append(plan)
        else:
            whole[plan.name] = found
            yield found
    for outcome in (executor or InProcessExecutor()).run(WriteShard(out, settings, masks), to_do):
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
            raise SlideError(f"{out / plan.name} was written, but not here: all workers have to share the folder")
        whole[plan.name] = found
        yield found
    if died:
        raise SlideError(f"{len(died)} of {len(plans)} shards were not written ({died[0]}); run again to try again")
    described = [_described(whole[plan.name]) for plan in plans]
    save_json(wanted | {"complete": True, "shards": described}, out / SHARDS_FILE)


def _plan(table: TileTable, settings: ShardSettings) -> list[ShardPlan]:
    if not len(table):
        raise SlideError("wanted tiles to export, got an empty table")
    plans = []
    for name, rows in table.frame.groupby("split"):
        split = str(name)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", split):
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
        raise SlideError(f"{missing[0]}: no such slide, one of {len(missing)} that are not where the table has them")
    if isinstance(masks, Mapping):
        without = sorted(set(slides["slide"]) - masks.keys())
        missing = [str(masks[name]) for name in slides["slide"] if name in masks and not Path(masks[name]).is_file()]
        if without or missing:
            what = f"slide '{without[0]}' has no label picture" if without else f"{missing[0]}: no such label picture"
            raise SlideError(f"{what}, one of {len(without) + len(missing)}; {len(slides)} slides have tiles")


def _digest(frame: pd.DataFrame) -> str:
    """Stands for the tiles and their order, wherever the slides lie."""
    digest = hashlib.sha256()
    for name in ABOUT:
        column = frame[name]
        numbers = column.dtype.kind in "iuf"
        digest.update(column.to_numpy().tobytes() if numbers else "\0".join(column).encode())
        digest.update(b"\0\0")
    return digest.hexdigest()


def _clear_the_way(out: Path, plans: list[ShardPlan], wanted: Mapping[str, Any], overwrite: bool) -> None:
    """Makes sure that what is in the folder is of this export, or drops it.

    Raises:
        SlideError: It is not, and is not to be dropped.
    """
    found = load_json(out / SHARDS_FILE)
    if found is not None and not overwrite:
        differ = list(differences(found.get("settings"), wanted["settings"]))
        differ += differences(found.get("masks"), wanted["masks"], "masks")
        if found.get("tiles") != wanted["tiles"]:
            differ.append("other tiles")
        if differ:
            raise SlideError(f"{out} holds shards that were made with {'; '.join(differ)}: give another folder")
        return
    names = {plan.name for plan in plans} | {str(shard["file"]) for shard in (found or {}).get("shards", [])}
    in_the_way = [path for name in sorted(names) for path in (out / name, index_path(out / name)) if path.exists()]
    if in_the_way and not overwrite:
        raise SlideError(f"{in_the_way[0]} is in the way: give another folder")
    for path in (out / SHARDS_FILE, *in_the_way):
        path.unlink(missing_ok=True)


def _written(out: Path, plan: ShardPlan, total: int, *, reused: bool) -> ShardWritten | None:
    """What is known of a shard, None if it is not whole: its index is written last."""
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
