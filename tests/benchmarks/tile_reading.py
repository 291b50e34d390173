"""Reading tiles: `open_slide` in one process and in two beside a plain OpenSlide loop and other packages, in one run.

    uv run --with tiffslide --with hs2p python tests/benchmarks/tile_reading.py [SLIDE] [--json FILE]

Random tiles of 256 px at level 0, their pixels as RGB arrays. The slide is the real one of the shared data (or SLIDE),
mirrored to a square of SIZE px, so that no cache holds it, and written twice: laid out as Aperio's are, and plain. Ours
decodes both by itself; `ours_through_openslide` is what it does with other scanners' formats. Rounds take turns; the
best of each counts. Prints tiles a second and, as ratios, the time of the plain loop by each reader's: above 1 is
faster than OpenSlide. A peer that is not installed is left out and named. Workers send back a number, not the pixels.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from wsi_tiling import Image, PyramidWriter, Slide, open_slide
from wsi_tiling.reading.formats.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.openers import DEFAULT_CACHE_MIB

REAL = Path(__file__).parents[3] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
TILE_PX = 256
WORKERS = 2
GOALS = {"ours_two_workers": 1.7, "ours_one_process": 0.95, "ours_through_openslide": 0.95}
Corner = tuple[int, int]
_slide: Slide


def mirrored(source: Path, target: Path, side: int, objective: float | None) -> None:
    """Writes a square slide of a slide and its mirror images."""
    with open_slide(source) as slide:
        picture = slide.read((0, 0), slide.size_l0, slide.size_l0)
    cell = np.concatenate([picture, picture[:, ::-1]], axis=1)
    cell = np.concatenate([cell, cell[::-1]])
    rows, columns = (np.arange(side) % length for length in cell.shape[:2])
    with PyramidWriter(target, (side, side), mpp=0.499, objective=objective, quality=85) as writer:
        for top in range(0, side, TILE_PX):
            writer.write((0, top), cell[rows[top : top + TILE_PX]][:, columns])


def plain_loop(path: Path) -> Callable[[Corner], Image]:
    slide = openslide.OpenSlide(path)
    return lambda corner: np.asarray(slide.read_region(corner, 0, (TILE_PX, TILE_PX)).convert("RGB"))


def ours(path: Path) -> Callable[[Corner], Image]:
    slide = open_slide(path)
    return lambda corner: slide.read(corner, TILE_PX, TILE_PX)


def through_openslide(path: Path) -> Callable[[Corner], Image]:
    slide = OpenSlideSlide(path, mpp=None, background=None, cache_mib=DEFAULT_CACHE_MIB)
    return lambda corner: slide.read(corner, TILE_PX, TILE_PX)


def tiffslide(path: Path) -> Callable[[Corner], Image]:
    import tiffslide as peer

    slide = peer.TiffSlide(path)
    return lambda corner: np.asarray(slide.read_region(corner, 0, (TILE_PX, TILE_PX), as_array=True))


def hs2p(path: Path) -> Callable[[Corner], Image]:
    from hs2p.wsi.reader import open_slide as open_with_peer

    slide = open_with_peer(path, "openslide")
    return lambda corner: np.asarray(slide.read_region(corner, 0, (TILE_PX, TILE_PX)))


READERS = {
    "openslide_loop": plain_loop,
    "ours_one_process": ours,
    "ours_through_openslide": through_openslide,
    "tiffslide": tiffslide,
    "hs2p": hs2p,
}


def receive(slide: Slide) -> None:
    """Starts a worker: the slide comes pickled, as it would to a data loader."""
    global _slide
    _slide = slide


def read_all(corners: list[Corner]) -> int:
    """What a worker does: reads tiles; sends back a number that depends on all of them."""
    return sum(int(_slide.read(corner, TILE_PX, TILE_PX)[0, 0, 0]) for corner in corners)


def seconds_of(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(path: Path, corners: list[Corner], rounds: int) -> dict[str, Any]:
    """The best time of each reader, as tiles a second and as ratios."""
    missing = [name for name in ("tiffslide", "hs2p") if importlib.util.find_spec(name) is None]
    readers = {name: make(path) for name, make in READERS.items() if name not in missing}
    expected = [readers["openslide_loop"](corner) for corner in corners[:20]]
    same = {
        name: all(np.array_equal(read(corner), wanted) for corner, wanted in zip(corners, expected, strict=False))
        for name, read in readers.items()
    }
    times: dict[str, list[float]] = {name: [] for name in [*readers, "ours_two_workers"]}
    # Both have the same work waiting, in pieces small enough that neither idles at the end.
    pieces = [corners[start : start + 25] for start in range(0, len(corners), 25)]
    with open_slide(path) as slide, multiprocessing.get_context("spawn").Pool(WORKERS, receive, (slide,)) as workers:
        warm_up(workers, corners)
        for _ in range(rounds):
            for name, read in readers.items():
                times[name].append(seconds_of(lambda read=read: [read(corner) for corner in corners]))
            times["ours_two_workers"].append(seconds_of(lambda: list(workers.imap_unordered(read_all, pieces))))
    best = {name: min(taken) for name, taken in times.items()}
    return {
        "tiles_a_second": {name: round(len(corners) / seconds) for name, seconds in best.items()},
        "times_openslide": {name: round(best["openslide_loop"] / seconds, 3) for name, seconds in best.items()},
        "pixels_are_openslides": same,
        "not_installed": missing,
    }


def warm_up(workers: Pool, corners: list[Corner]) -> None:
    """Lets every worker import its modules and open the slide."""
    workers.map(read_all, [corners[:4]] * (4 * WORKERS), chunksize=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", default=REAL)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--tiles", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    corners = [tuple(map(int, corner)) for corner in rng.integers(0, arguments.size - TILE_PX, (arguments.tiles, 2))]
    figures: dict[str, Any] = {
        "size_px": arguments.size,
        "tiles": arguments.tiles,
        "cores": len(os.sched_getaffinity(0)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for layout, objective in (("aperio", 20.0), ("plain", None)):
            path = Path(folder) / f"{layout}.tif"
            mirrored(arguments.slide, path, arguments.size, objective)
            figures[layout] = measure(path, corners, arguments.rounds)
    figures["goals"] = GOALS
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
