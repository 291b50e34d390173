"""Patches together against one at a time, and all of them jointly, with the built-in model in one process.

    uv run python tests/benchmarks/batches.py [--size 1024] [--batch 8] [--json FILE]

Draws the same slide in order one patch at a time, in order in batches, and jointly in batches, level after level in
turns, and prints for each level the seconds a patch of each way and how many times faster batches are. The first level
is one patch, so it is not counted. A patch in order and the same jointly are the same number of denoising steps.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from urcdm import LocalPatchExecutor, RunSettings, SlideRun, Urcdm
from urcdm_app.builtin import MODEL


def seconds_by_level(model: Urcdm, settings: RunSettings, batch: int) -> dict[str, float]:
    """Draws a slide; gives the seconds that each level took for a patch."""
    begin: dict[str, float] = {}
    end: dict[str, float] = {}
    patches: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, LocalPatchExecutor(model) as executor:
        for event in SlideRun.open(Path(folder) / "canvas", model, settings).sample(executor, batch):
            begin.setdefault(event.level, time.perf_counter())
            end[event.level], patches[event.level] = time.perf_counter(), event.total
    return {level: (end[level] - begin[level]) / patches[level] for level in begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = Urcdm.load(MODEL)
    size = (options.size, options.size)
    ways = {
        "one at a time": (RunSettings(size), 1),
        "in batches": (RunSettings(size), options.batch),
        "jointly in batches": (RunSettings(size, joint=True), options.batch),
    }
    taken = {name: seconds_by_level(model, settings, batch) for name, (settings, batch) in ways.items()}
    levels = [level.name for level in model.config.levels[1:]]
    found = {
        "size_px": options.size,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "seconds_a_patch": {name: {level: round(by[level], 3) for level in levels} for name, by in taken.items()},
        "times_faster": {
            level: round(taken["one at a time"][level] / taken["in batches"][level], 2) for level in levels
        },
    }
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
