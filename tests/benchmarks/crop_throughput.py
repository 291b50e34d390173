"""Crops of a patch-FID a second from a large slide, beside the reading speed of wsi-tiling, in one run.

    uv run python tests/benchmarks/crop_throughput.py [SLIDE] [--json FILE]

The slide is the real one of the shared data (or SLIDE), mirrored to a square of SIZE px and written as a pyramid. Crops
are planned by the paired protocol. Rounds take turns; the best of each counts:

- `tiles`: `Slide.read` in one process, whole tiles of the patch's size at level 0, at random places;
- `regions`: `Slide.read` in one process, the planned regions, in the order of the plan;
- `sorted`: the same, in the order in which `read_crops` reads;
- `read_crops`: two worker processes, pixels received by this one; without the time until the first ones came, in which
  the workers start, which is told apart.

`ratio` is `read_crops` by `regions`, and by `sorted` times two, which is all that two processes can give. Memory is the
largest of this process and each worker (resident, MiB) while it reads COUNT crops, and a quarter as many.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pfid.crops.plan import CropPlan
from pfid.crops.planning import plan_crops
from pfid.crops.reading import read_crops, reading_order
from pfid.images.sources import Images, region_images
from wsi_tiling import PyramidWriter, open_slide

REAL = Path(__file__).parents[3] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
PATCH_PX = 256
WORKERS = 2


def mirrored(source: Path, target: Path, side: int) -> None:
    """Writes a square slide of a slide and its mirror images."""
    with open_slide(source) as slide:
        picture = slide.read((0, 0), slide.size_l0, slide.size_l0)
    cell = np.concatenate([picture, picture[:, ::-1]], axis=1)
    cell = np.concatenate([cell, cell[::-1]])
    rows, columns = (np.arange(side) % length for length in cell.shape[:2])
    with PyramidWriter(target, (side, side), mpp=0.499, quality=85) as writer:
        for top in range(0, side, PATCH_PX):
            writer.write((0, top), cell[rows[top : top + PATCH_PX]][:, columns])


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def read_regions(images: Images, plan: CropPlan, order: np.ndarray) -> None:
    corners, fields = plan.regions("real")
    with open_slide(images.places[0]) as slide:
        for number in order:
            slide.read(tuple(corners[number]), float(fields[number]), PATCH_PX)


def read_tiles(images: Images, count: int) -> None:
    rng = np.random.default_rng(0)
    with open_slide(images.places[0]) as slide:
        for corner in rng.integers(0, slide.size[0] - PATCH_PX, (count, 2)):
            slide.read((int(corner[0]), int(corner[1])), PATCH_PX, PATCH_PX)


def read_all(images: Images, plan: CropPlan) -> float:
    """Reads all crops; gives the seconds that went by until the first ones came, when the workers had started."""
    begin, counts, started = time.perf_counter(), [], 0.0
    for batch in read_crops(images, plan, "real", workers=WORKERS):
        started = started or time.perf_counter() - begin
        counts.append(len(batch.numbers))
    if sum(counts) != len(plan):
        raise RuntimeError(f"{sum(counts)} of {len(plan)} crops came")
    return started


def memory_of(images: Images, count: int) -> dict[str, int]:
    """Largest memory, MiB, of a process of its own that reads so many crops, and of its workers."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, images, count))
    process.start()
    found: dict[str, int] = ours.recv()
    process.join()
    return found


def _measure(pipe: Any, images: Images, count: int) -> None:
    read_all(images, plan_crops(real=images, fake=images, protocol="paired", count=count, patch_px=PATCH_PX))
    whose = {"reader": resource.RUSAGE_SELF, "worker": resource.RUSAGE_CHILDREN}
    pipe.send({name: resource.getrusage(who).ru_maxrss // 1024 for name, who in whose.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", default=REAL)
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        mirrored(arguments.slide, path, arguments.size)
        images = region_images([path], open_slide)
        count = arguments.count
        planning: list[float] = []
        for _ in range(3):
            planning.append(seconds_of(lambda: plan_crops(real=images, fake=images, protocol="paired")))
        plan = plan_crops(real=images, fake=images, protocol="paired", count=count, patch_px=PATCH_PX)
        starting: list[float] = []
        ways: dict[str, Callable[[], None]] = {
            "tiles": lambda: read_tiles(images, count),
            "regions": lambda: read_regions(images, plan, np.arange(count)),
            "sorted": lambda: read_regions(images, plan, reading_order(plan, "real")),
            "read_crops": lambda: starting.append(read_all(images, plan)),
        }
        rounds = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(arguments.rounds)]
        best = {name: min(times[name] for times in rounds) for name in ways}
        best["read_crops"] -= min(starting)
        figures: dict[str, Any] = {
            "size_px": arguments.size,
            "crops": count,
            "cores": len(os.sched_getaffinity(0)),
            "crops_a_second": {name: round(count / seconds) for name, seconds in best.items()},
            "ratio": {
                "to_regions": round(best["regions"] / best["read_crops"], 2),
                "to_sorted_times_two": round(best["sorted"] / WORKERS / best["read_crops"], 2),
            },
            "seconds_until_the_first_crops": round(min(starting), 1),
            "seconds_to_plan_50_000": round(min(planning), 3),
            "memory_mib": {str(number): memory_of(images, number) for number in (count, 4 * count)},
        }
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
