"""Training examples a second and core: read at the level's size, as they were, beside read at the stage's size.

    uv run python tests/benchmarks/example_throughput.py [SLIDE] [--json FILE]

The slide is the real one of the shared data (or SLIDE). For the study's plan it is mirrored to a square of SIZE px and
written as a pyramid of JPEG tiles; for the built-in plan it is held in memory, as training holds small slides. Seconds
are of the processor, of one process with one thread. For each network of the study's plan both ways take turns on the
same draws; `ratio` is what reading at the stage's size makes of the number a second. Where it is 1 both ways are the
same. `two_workers`, for the built-in plan, is what two worker processes prepare while each has a core.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from crop_throughput import REAL, mirrored

from cdm_core.training.prepared_examples import PreparedExamples, prepared_batches
from urcdm import LevelExamples, TrainingPlan
from urcdm.presets import PLANS
from urcdm.training.data import CACHE_MIB
from urcdm.training.examples import READ_PX
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from wsi_tiling import Slide, TileTable, TissueRule, find_tiles, load_into_memory, open_slide

ROUND = 10
"""Examples that are read one way before the other has its turn, and in a worker's batch."""
WORKERS = 2
PLACES_L0 = 4096
"""Largest field of the tiles around which examples lie: the study's first level shows more than the slide."""


def prepared(plan: TrainingPlan, level: int, stage: int, slide: Slide) -> PreparedExamples:
    """Examples around the tiles that `urcdm-app tile` would cut."""
    network, field = plan.of_level(level)[stage], plan.urcdm.levels[level].field_l0
    rule = plan.urcdm.tissue if level else TissueRule.everything()
    tiles = find_tiles([slide], field_l0=min(field, PLACES_L0), rule=rule)
    table = TileTable(tiles.frame.assign(field_l0=field))
    data = LevelExamples(plan, level, stage, table, {table.frame["slide"].iloc[0]: slide}, seed=0)
    return PreparedExamples(network.stage, network.training, data)


def seconds(examples: PreparedExamples, draws: range) -> float:
    started = time.process_time()
    for draw in draws:
        examples[draw]
    return time.process_time() - started


def measured(plan: TrainingPlan, level: int, stage: int, path: Path, count: int) -> dict[str, float]:
    """Examples a second, read at the level's size and at the stage's, in turns, from tiles that the cache has."""
    sides = {"level_size": 2**30, "stage_size": READ_PX}
    opened = {name: open_slide(path, cache_mib=CACHE_MIB) for name in sides}
    spent = dict.fromkeys(sides, 0.0)
    examples = {}
    for name, least_px in sides.items():
        with mock.patch("urcdm.training.examples.READ_PX", least_px):
            examples[name] = prepared(plan, level, stage, opened[name])
    for begin in range(0, count + ROUND, ROUND):
        for name, each in examples.items():
            took = seconds(each, range(begin, begin + ROUND))
            spent[name] += took if begin else 0  # the first round fills the cache
    for slide in opened.values():
        slide.close()
    ratio = spent["level_size"] / spent["stage_size"]
    return {**{name: round(count / took, 1) for name, took in spent.items()}, "ratio": round(ratio, 2)}


def measured_in_memory(plan: TrainingPlan, level: int, stage: int, slide: Slide, count: int) -> dict[str, float]:
    """Examples a second of one process, and of two workers together."""
    examples = prepared(plan, level, stage, slide)
    seconds(examples, range(ROUND))
    alone = count / seconds(examples, range(ROUND, ROUND + count))
    examples.training = replace(examples.training, workers=WORKERS)
    spent = in_workers(examples, count + WORKERS * ROUND) - in_workers(examples, WORKERS * ROUND)
    return {"one_core": round(alone, 1), "two_workers": round(WORKERS * count / spent, 1)}


def in_workers(examples: PreparedExamples, count: int) -> float:
    """Seconds of the processor that worker processes take to start and to prepare so many examples."""
    batches = [list(range(begin, begin + ROUND)) for begin in range(0, count, ROUND)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in prepared_batches(examples, batches, torch.device("cpu")):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", default=REAL)
    parser.add_argument("--size", type=int, default=24_576)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--only", default="", help="networks whose names have this in them")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"size_px": arguments.size, "examples": arguments.count}

    def measure(title: str, plan: TrainingPlan, measure_one: Callable[[int, int], dict[str, float]]) -> None:
        for level in range(len(plan.urcdm.levels)):
            for stage, network in enumerate(plan.of_level(level)):
                name = f"{title} {network.name}"
                if arguments.only in name:
                    figures[name] = measure_one(level, stage)
                    print(name, figures[name], flush=True)

    study, built_in = PLANS["study"], read_plan(builtin.PLAN)
    with open_slide(arguments.slide) as slide:
        held = load_into_memory(slide)
    measure("built-in", built_in, lambda *which: measured_in_memory(built_in, *which, held, 10 * arguments.count))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        mirrored(arguments.slide, path, arguments.size)
        measure("study", study, lambda *which: measured(study, *which, path, arguments.count))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
