"""Training examples a second and core: read at the level's size, as they were, beside read at the stage's size.

    uv run python tests/benchmarks/example_throughput.py [SLIDE] [--json FILE]

The slide is the real one of the shared data (or SLIDE), mirrored to a square of SIZE px and written as a pyramid of
JPEG tiles. Seconds are of the processor, of one process with one thread, so that other work on the machine counts
little. For each network of the study's plan and of the built-in one both ways take turns on the same draws; `ratio` is
what reading at the stage's size makes of the number a second. Where it is 1 both ways are the same.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from crop_throughput import REAL, mirrored

import urcdm.training.examples
from cdm_core.training.prepared_examples import PreparedExamples
from urcdm import LevelExamples, TrainingPlan
from urcdm.presets import PLANS
from urcdm.training.data import CACHE_MIB
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from wsi_tiling import Slide, TileTable, TissueRule, find_tiles, open_slide

PLACES_L0 = 4096
"""Largest field of the tiles around which examples lie: the study's first level shows more than the slide."""


def prepared(plan: TrainingPlan, level: int, stage: int, slide: Slide) -> PreparedExamples:
    network, field = plan.of_level(level)[stage], plan.urcdm.levels[level].field_l0
    tiles = find_tiles([slide], field_l0=min(field, PLACES_L0), rule=TissueRule.everything())
    table = TileTable(tiles.frame.assign(field_l0=field))
    data = LevelExamples(plan, level, stage, table, {table.frame["slide"].iloc[0]: slide}, seed=0)
    return PreparedExamples(network.stage, network.training, data)


def seconds(examples: PreparedExamples, draws: range) -> float:
    started = time.process_time()
    for draw in draws:
        examples[draw]
    return time.process_time() - started


def measured(plan: TrainingPlan, level: int, stage: int, path: Path, count: int) -> dict[str, float]:
    ways: dict[str, float] = {}
    for name, least_px in (("level_size", 2**30), ("stage_size", urcdm.training.examples.READ_PX)):
        kept, urcdm.training.examples.READ_PX = urcdm.training.examples.READ_PX, least_px
        with open_slide(path, cache_mib=CACHE_MIB) as slide:
            examples = prepared(plan, level, stage, slide)
            seconds(examples, range(count // 4))  # tiles in the cache, and imports
            ways[name] = round(count / seconds(examples, range(count, 2 * count)), 1)
        urcdm.training.examples.READ_PX = kept
    return {**ways, "ratio": round(ways["stage_size"] / ways["level_size"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", default=REAL)
    parser.add_argument("--size", type=int, default=24_576)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--only", default="", help="networks whose names have this in them")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"size_px": arguments.size, "examples": arguments.count}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        mirrored(arguments.slide, path, arguments.size)
        for title, plan in (("study", PLANS["study"]), ("built-in", read_plan(builtin.PLAN))):
            for level in range(len(plan.urcdm.levels)):
                for stage, network in enumerate(plan.of_level(level)):
                    name = f"{title} {network.name}"
                    if arguments.only in name:
                        found[name] = measured(plan, level, stage, path, arguments.count)
                        print(name, found[name], flush=True)
    text = json.dumps(found, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
