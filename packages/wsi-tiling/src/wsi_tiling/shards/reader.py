"""Tiles read back from shards: any of them at any time, by any number of threads and processes."""

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from run_folder import first_line
from wsi_tiling.errors import SlideError
from wsi_tiling.running.notes import frame_note, load_json
from wsi_tiling.shards.codec import decode
from wsi_tiling.shards.export import SHARDS_FILE
from wsi_tiling.shards.writer import ABOUT, index_path, size_column

_MOST_OPEN = 256


class ShardTiles:
    """The tiles of shards, as a sequence: the n-th is always the same.

    It can be pickled, forked and shared by threads, so it serves a `torch.utils.data.DataLoader` as it is.

    Args:
        shards: Folder that `export_shards` filled, or tar files from there, in any order. A tar without its index is
            read through once.
        split: Take this split only.

    Attributes:
        frame: One row a tile: `key`, and the columns of a `TileTable` but for `path`.
        contexts_l0: Sides of the fields of the contexts, level-0 pixels.

    Raises:
        SlideError: There is nothing to read, the folder is not complete, or a shard is missing, damaged or of another
            kind than the others.
    """

    def __init__(
        self, shards: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], split: str | None = None
    ) -> None:
        self.paths = (
            _shard_paths(Path(shards)) if isinstance(shards, str | os.PathLike) else [Path(path) for path in shards]
        )
        if not self.paths:
            raise SlideError(f"wanted shards to read, got none in {shards}")
        indexes = [_index(path) for path in self.paths]
        first, self.contexts_l0 = indexes[0]
        for path, (index, contexts_l0) in zip(self.paths, indexes, strict=True):
            if list(index) != list(first) or contexts_l0 != self.contexts_l0:
                raise SlideError(f"{path} does not hold the same kinds of images as {self.paths[0]}")
        kept = [
            index[index["split"] == split] if split is not None else index
            for index in (index.assign(shard=number) for number, (index, _) in enumerate(indexes))
            if len(index)
        ]
        frame = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
        if frame.empty:
            raise SlideError(f"{self.paths[0].parent}: no tiles" + (f" in split '{split}'" if split else ""))
        self.frame = frame[["key", *ABOUT]]
        self._names = [name for name in _members(frame) if name != "json"]
        self._keys, self._shard = frame["key"].tolist(), frame["shard"].to_numpy()
        self._places = frame[self._names].to_numpy(np.int64)
        self._sizes = frame[[size_column(name) for name in self._names]].to_numpy(np.int64)
        self._open: dict[int, _File] = {}

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Reads a tile.

        Returns:
            `key`; `image`, (S, S, 3) uint8; `context-1` and so on, likewise; `mask`, (S, S) of uint8 or uint16.

        Raises:
            IndexError: There is no such tile.
            SlideError: The shard is damaged.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"wanted one of {len(self)} tiles, got number {number}")
        file = self._file(int(self._shard[number]))
        tile: dict[str, Any] = {"key": self._keys[number]}
        for name, place, size in zip(self._names, self._places[number], self._sizes[number], strict=True):
            try:
                tile[name.partition(".")[0]] = decode(file.read(int(size), int(place)), name)
            # A damaged file can trip the decoders anywhere.
            except Exception as error:
                raise SlideError(f"{file.path}: {tile['key']}.{name} is damaged: {first_line(error)}") from error
        return tile

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def _file(self, shard: int) -> "_File":
        # No lock, which a fork could copy while it is held: at worst a file is opened twice.
        file = self._open.get(shard)
        if file is None:
            if len(self._open) >= _MOST_OPEN:
                self._open = {}
            file = self._open.setdefault(shard, _File(self.paths[shard]))
        return file


def read_shards(
    shards: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    split: str | None = None,
    *,
    part: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, Any]]:
    """Reads tiles one after the other, in the order in which they lie.

    Args:
        shards: As for `ShardTiles`.
        split: Take this split only.
        part: Which of how many parts to read, such as (2, 8) for the third of eight workers: every eighth tile.

    Yields:
        Tiles, see `ShardTiles`.

    Raises:
        SlideError: As for `ShardTiles`.
    """
    number, parts = part
    if not 0 <= number < parts:
        raise SlideError(f"wanted a part (number, parts) with 0 <= number < parts, got {part}")
    tiles = ShardTiles(shards, split)
    return (tiles[draw] for draw in range(number, len(tiles), parts))


class _File:
    """A file that is read at given places, by many threads and by forked processes too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDONLY)

    def read(self, size: int, place: int) -> bytes:
        data = os.pread(self._number, size, place)
        if len(data) < size:
            raise SlideError("the file is cut short")
        return data

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)


def _shard_paths(folder: Path) -> list[Path]:
    found = load_json(folder / SHARDS_FILE)
    if found is None:
        raise SlideError(f"{folder}: no shards here, there is no {SHARDS_FILE}")
    if not found.get("complete"):
        raise SlideError(f"{folder}: its shards are not complete; export again with --resume, to continue")
    try:
        return [folder / str(shard["file"]) for shard in found["shards"]]
    except (KeyError, TypeError) as error:
        raise SlideError(f"{folder / SHARDS_FILE} is not a list of shards; export again") from error


def _index(path: Path) -> tuple[pd.DataFrame, tuple[float, ...]]:
    """The index of a shard, and the fields of its contexts."""
    if not path.is_file():
        raise SlideError(f"{path}: no such shard")
    note = frame_note(index_path(path))
    if note is None:
        return _scan(path)
    frame = _with_identity(pd.read_parquet(index_path(path), engine="pyarrow"))
    ends = [frame[name] + frame[size_column(name)] for name in _members(frame)]
    if len(frame) and max(end.max() for end in ends) > path.stat().st_size:
        raise SlideError(f"{path} is cut short")
    return frame, tuple(note["contexts_l0"])


def _with_identity(frame: pd.DataFrame) -> pd.DataFrame:
    """An index of version 0.1 gets the column `slide_id`, without identities."""
    if "slide_id" not in frame:
        frame.insert(list(frame).index("slide") + 1, "slide_id", "")
    return frame


def _members(frame: pd.DataFrame) -> list[str]:
    """The members that an index locates."""
    return [str(name) for name in frame if size_column(str(name)) in frame]


def _scan(path: Path) -> tuple[pd.DataFrame, tuple[float, ...]]:
    """Makes the index of a shard from the shard itself."""
    rows: dict[str, dict[str, Any]] = {}
    contexts: list[float] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                key, _, member = info.name.partition(".")
                row = rows.setdefault(key, {"key": key})
                row |= {member: info.offset_data, size_column(member): info.size}
                content = tar.extractfile(info) if member == "json" else None
                if content is not None:
                    about = json.loads(content.read())
                    contexts = about["contexts_l0"]
                    row |= {name: about[name] for name in ABOUT if name != "slide_id"}
                    row["slide_id"] = about.get("slide_id", "")
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SlideError(f"{path} is no shard of tiles, or it is damaged: {first_line(error)}") from error
    frame = pd.DataFrame(list(rows.values()))
    if frame.isna().any(axis=None) or not {"key", *ABOUT} <= set(frame):
        raise SlideError(f"{path} is no shard of tiles, or it is damaged: some tiles lack files")
    members = [name for name in frame if name not in ("key", *ABOUT)]
    return frame[["key", *ABOUT, *members]], tuple(contexts)
