"""Images a second from shards, beside the same tiles from the slide, with a DataLoader of two workers.

    uv run python tests/benchmarks/shards.py SLIDE FOLDER

SLIDE is laid out many times, mirrored at each seam, as one slide of 16,500 x 16,500 px with all reduced levels, since a
small one is held in memory whole. Tiles of 256 px are read with a context of 1,024 px or without, in an order drawn
anew, three times in turn; the middle one counts. Files just written come from the system's memory: this measures
decoding, not disks.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from wsi_tiling import (
    PyramidWriter,
    ShardSettings,
    ShardTiles,
    TileTable,
    TissueRule,
    export_shards,
    find_tiles,
    open_slide,
    read_concentric,
)

SIDE_PX, TILE_PX, CONTEXT_PX = 16500, 256, 1024
TILES, BATCH, WORKERS, ROUNDS = 640, 32, 2, 3


class SlideTiles(Dataset[dict[str, Any]]):
    """The tiles of a table, read from their slide."""

    def __init__(self, path: Path, table: TileTable, contexts: tuple[tuple[float, int], ...]) -> None:
        self.slide, self.contexts = open_slide(path), contexts
        self.places = table.frame[["x_l0", "y_l0"]].to_numpy()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: int) -> dict[str, Any]:
        x, y = self.places[draw].tolist()
        tile = {"image": self.slide.read((x, y), TILE_PX, TILE_PX)}
        centre = (x + TILE_PX / 2, y + TILE_PX / 2)
        for number, (field, size) in enumerate(self.contexts, start=1):
            (tile[f"context-{number}"],) = read_concentric(self.slide, centre, [field], size)
        return tile


def write_large(path: Path, small: Path) -> None:
    with open_slide(small) as slide:
        image = slide.read((0, 0), slide.size_l0, slide.size_l0)
        mpp = slide.mpp
    both = np.concatenate([image, image[:, ::-1]], axis=1)
    block = np.concatenate([both, both[::-1]])
    with PyramidWriter(path, (SIDE_PX, SIDE_PX), mpp=mpp, quality=80) as writer:
        columns = np.arange(SIDE_PX) % block.shape[1]
        for y in range(0, SIDE_PX, TILE_PX):
            rows = np.arange(y, y + TILE_PX) % block.shape[0]
            writer.write((0, y), block[rows[: SIDE_PX - y]][:, columns])


def images_per_second(tiles: Any, rng: np.random.Generator) -> float:
    order = rng.permutation(len(tiles)).tolist()
    warm, measured = order[: 4 * BATCH], order[4 * BATCH :]
    batches = iter(DataLoader(tiles, batch_size=BATCH, sampler=warm + measured, num_workers=WORKERS))
    for _ in range(len(warm) // BATCH):
        next(batches)
    begin = time.perf_counter()
    for _ in batches:
        pass
    return len(measured) / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    large, rng = folder / "large.tif", np.random.default_rng(0)
    if not large.exists():
        write_large(large, arguments.slide)
    with open_slide(large) as slide:
        table = find_tiles([slide], field_l0=TILE_PX, rule=TissueRule.everything())
    table = TileTable(table.frame.sample(TILES, random_state=0))
    for contexts in ((), ((CONTEXT_PX, TILE_PX),)):
        sources: dict[str, Any] = {"slide": SlideTiles(large, table, contexts)}
        for kind, compress in (("png", True), ("png", False), ("jpeg", True)):
            name = kind if compress else f"{kind}, not compressed"
            out = folder / f"{kind}-{len(contexts)}-{compress}"
            begin = time.perf_counter()
            settings = ShardSettings(TILE_PX, contexts, format=kind, compress=compress, tiles_per_shard=256)
            size = sum(shard.path.stat().st_size for shard in export_shards(table, out, settings, overwrite=True))
            taken = time.perf_counter() - begin
            print(f"{name}: {TILES / taken:.0f} tiles a second written, {size / TILES / 1000:.0f} kB a tile")
            sources[name] = ShardTiles(out)
        found: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(ROUNDS):
            for name, tiles in sources.items():
                found[name].append(images_per_second(tiles, rng))
        speed = {name: statistics.median(values) for name, values in found.items()}
        for name, value in speed.items():
            beside = f"{len(contexts)} context beside" if contexts else "no context"
            print(f"{name:20} {beside}: {value:6.0f} tiles a second, {value / speed['slide']:.1f} x the slide's")


if __name__ == "__main__":
    main()
