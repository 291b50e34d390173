"""The training data of a run: slides with a tile table, or shards."""

import hashlib
from pathlib import Path
from typing import Protocol

from cdm_core import Examples
from urcdm.config import TrainingPlan
from urcdm.errors import TilesError
from urcdm.training.examples import LevelExamples
from urcdm.training.shard_examples import ShardExamples
from wsi_tiling import SHARDS_FILE, ShardTiles, Slide, TileTable, check_identities, load_into_memory, open_slide

TILE_TABLE = "tiles.parquet"
"""The file with the tile table in a folder of tiles."""
IN_MEMORY_PX = 2**26
"""Largest slide that is held in memory, pixels (192 MiB each, plus a third for its reduced levels)."""
CACHE_MIB = 512.0
"""Size of a process's cache of decoded tiles of all slides, MiB."""
TRAIN, VALIDATION = "train", "validation"


class TrainingData(Protocol):
    """A source of examples."""

    @property
    def slides(self) -> list[str]:
        """Names of the slides to train on."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the tiles, independent of the paths of their files."""
        ...

    def examples(self, level: int, stage: int, seed: int) -> tuple[Examples, Examples | None]:
        """The training examples of a network and, if there are any, its validation examples."""
        ...


def open_training_data(plan: TrainingPlan, tiles: Path, validation: Path | None) -> TrainingData:
    """Opens a folder of tiles or of shards, which `urcdm-app tile` and `export` write, or a tile table.

    The split 'train' is for training, the split 'validation' for validation, unless a separate folder is given, all of
    which is used for validation.

    Raises:
        TilesError: There is nothing to train on, or a slide is used for both training and validation.
        SlideError: The folder has neither tiles nor shards, or a slide or a shard cannot be read.
    """
    if tiles.is_dir() and not (tiles / TILE_TABLE).exists() and _levels_in(plan, tiles):
        return _ShardData(plan, tiles, validation)
    return _SlideData(plan, tiles, validation)


class _SlideData:
    def __init__(self, plan: TrainingPlan, tiles: Path, validation: Path | None) -> None:
        whole = read_tiles(tiles)
        table = _of_split(whole, TRAIN)
        if table is None:
            raise TilesError(f"{tiles}: no tiles to train on, with '{TRAIN}' in the column split")
        held_out = _of_split(whole, VALIDATION) if validation is None else read_tiles(validation)
        if held_out is not None:
            _refuse_shared_slides(table, held_out)
        self.plan, self.table, self.held_out = plan, table, held_out
        self.opened = _open_slides(table)
        self.opened_held_out = {} if held_out is None else _open_slides(held_out)

    @property
    def slides(self) -> list[str]:
        return sorted(self.opened)

    @property
    def digest(self) -> str:
        return _digest(self.table, self.held_out)

    def examples(self, level: int, stage: int, seed: int) -> tuple[Examples, Examples | None]:
        held_out = self.held_out
        return (
            LevelExamples(self.plan, level, stage, self.table, self.opened, seed),
            None if held_out is None else LevelExamples(self.plan, level, stage, held_out, self.opened_held_out, seed),
        )


class _ShardData:
    def __init__(self, plan: TrainingPlan, shards: Path, validation: Path | None) -> None:
        self.plan, self.shards, self.validation = plan, shards, validation
        levels = _levels_in(plan, shards)
        opened = [ShardTiles(shards / level) for level in levels]
        slides = {slide for tiles in opened for slide in _slides_of(tiles, TRAIN)}
        held_out = {slide for tiles in opened for slide in _slides_of(tiles, VALIDATION)}
        if validation is not None:
            if not set(levels) <= set(_levels_in(plan, validation)):
                raise TilesError(f"{validation}: wanted shards of {', '.join(levels)} for validation, as in {shards}")
            held_out = {slide for level in levels for slide in _slides_of(ShardTiles(validation / level))}
        self.slides = sorted({name for name, _ in slides})
        held_out_tiles = [] if validation is None else [ShardTiles(validation / level) for level in levels]
        self.digest = _digest(*opened, *held_out_tiles)
        _refuse(_shared(slides, held_out))

    def examples(self, level: int, stage: int, seed: int) -> tuple[Examples, Examples | None]:
        name = self.plan.urcdm.levels[level].name
        if name not in _levels_in(self.plan, self.shards):
            raise TilesError(f"{self.shards}: no shards of level '{name}'; export them, or train other networks")
        folder = self.shards / name
        if self.validation is not None:
            held_out: ShardTiles | None = ShardTiles(self.validation / name)
        else:
            splits = set(ShardTiles(folder).frame["split"])
            held_out = ShardTiles(folder, VALIDATION) if VALIDATION in splits else None
        return (
            ShardExamples(self.plan, level, stage, ShardTiles(folder, TRAIN), seed),
            None if held_out is None else ShardExamples(self.plan, level, stage, held_out, seed),
        )


def _levels_in(plan: TrainingPlan, folder: Path) -> list[str]:
    """Names of the levels whose shards a folder holds."""
    return [level.name for level in plan.urcdm.levels if (folder / level.name / SHARDS_FILE).exists()]


def _digest(*tables: TileTable | ShardTiles | None) -> str:
    rows = ("" if tiles is None else tiles.frame.drop(columns="path", errors="ignore").to_csv() for tiles in tables)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def read_tiles(tiles: Path) -> TileTable:
    """Reads a tile table, or the one in a folder of tiles."""
    return TileTable.load(tiles / TILE_TABLE if tiles.is_dir() else tiles)


def _of_split(table: TileTable, split: str) -> TileTable | None:
    """The tiles of a split, if there are any."""
    frame = table.frame[table.frame["split"] == split]
    return None if frame.empty else TileTable(frame)


def _slides_of(tiles: TileTable | ShardTiles, split: str | None = None) -> set[tuple[str, str]]:
    """Name and identity of each slide that has tiles, in a split or in all."""
    frame = tiles.frame if split is None else tiles.frame[tiles.frame["split"] == split]
    return set(frame[["slide", "slide_id"]].itertuples(index=False, name=None))


def _shared(slides: set[tuple[str, str]], held_out: set[tuple[str, str]]) -> set[str]:
    """Names of validation slides that are also training slides, by name or identity."""
    names, identities = ({slide[column] for slide in slides} for column in (0, 1))
    return {name for name, identity in held_out if name in names or identity in identities - {""}}


def _refuse_shared_slides(table: TileTable, held_out: TileTable) -> None:
    """Raises TilesError if a slide, by its name, its identity or its file, is in both tables."""
    names = _shared(_slides_of(table), _slides_of(held_out))
    files = {Path(path).resolve() for path in table.frame["path"].unique()}
    names |= {
        name
        for name, path in held_out.frame[["slide", "path"]].drop_duplicates().itertuples(index=False)
        if Path(path).resolve() in files
    }
    _refuse(names)


def _refuse(names: set[str]) -> None:
    if names:
        raise TilesError(f"validation: {', '.join(sorted(names))} is to train on too; hold whole slides out")


def _open_slides(table: TileTable) -> dict[str, Slide]:
    """Opens the slides of a table; small ones, which often have a single level, are loaded into memory."""
    slides: dict[str, Slide] = {}
    check_identities(table.frame[["path", "slide_id"]].drop_duplicates().itertuples(index=False, name=None))
    files = table.frame[["slide", "path"]].drop_duplicates()
    for name, path in files.itertuples(index=False):
        slide = open_slide(path, cache_mib=CACHE_MIB / len(files))
        slides[name] = load_into_memory(slide) if slide.size_l0[0] * slide.size_l0[1] <= IN_MEMORY_PX else slide
    return slides
