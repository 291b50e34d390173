"""Solvers and steps: how much fine structure the built-in high network draws, as a share of the real patches'.

    uv run python tests/benchmarks/solvers.py REAL_SLIDE [--patches N]

Patches of the real slide are enlarged from their real parents, so that what is seen is the solver and not the levels
before. Prints a table: sharpness as a share of the real patches' (1 is perfect), and the time as a share of the longest
run's.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cdm_core import Cascade, CascadeConfig
from cdm_core.sampler import Method
from urcdm import InProcessExecutor, PatchTask, Urcdm, sharpness
from urcdm.context import read_context
from urcdm_app import builtin
from wsi_tiling import Slide, load_into_memory, open_slide, read_region

METHODS: tuple[Method, ...] = ("ddpm", "ddim", "dpmpp_2m")
STEPS = (8, 16, 32)


def patches_of(slide: Slide, model: Urcdm, count: int) -> tuple[list[PatchTask], np.ndarray]:
    """Tasks for random patches full of tissue at the last level, and the real patches side by side."""
    parent, level = model.config.levels[-2:]
    stage = model.cascades[-1].config.stages[0]
    rng = np.random.default_rng(0)
    tasks, real = [], []
    while len(tasks) < count:
        margin = parent.field_l0 / 2
        x, y = (rng.integers(margin, side - margin) for side in slide.size_l0)
        patch = slide.read((x - level.field_l0 / 2, y - level.field_l0 / 2), level.field_l0, level.image_px)
        if (patch.mean(axis=2) < 200).mean() < 0.7:
            continue
        around = slide.read((x - margin, y - margin), parent.field_l0, parent.image_px)
        centre = (parent.image_px / 2, parent.image_px / 2)

        def read(box: tuple[float, float, float, float], size: int, around: np.ndarray = around) -> np.ndarray:
            return read_region(around, box, size, model.config.fill)

        context = read_context(read, centre, model.config, parent, level, stage.image_px, stage.lowres_px)
        number = len(tasks)
        tasks.append(PatchTask(len(model.cascades) - 1, 0, (0, number), number, context.images, context.centre))
        real.append(patch)
    return tasks, np.concatenate(real, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("--patches", type=int, default=16)
    arguments = parser.parse_args()
    model = Urcdm.load(builtin.MODEL)
    tasks, real = patches_of(load_into_memory(open_slide(arguments.real)), model, arguments.patches)
    *below, high = model.cascades
    figures = {}
    for method in METHODS:
        stage = high.config.stages[0]
        solver = CascadeConfig((replace(stage, sampling=replace(stage.sampling, method=method)),))
        executor = InProcessExecutor(Urcdm(model.config, [*below, Cascade(solver, high.unets)]))
        for steps in STEPS:
            started = time.monotonic()
            drawn = executor.run([replace(task, steps=steps) for task in tasks])
            seconds = time.monotonic() - started
            figures[method, steps] = (sharpness(np.concatenate(drawn, axis=1)) / sharpness(real), seconds)
    longest = max(seconds for _, seconds in figures.values())
    print("method     steps  sharpness  time")
    for (method, steps), (share, seconds) in figures.items():
        print(f"{method:10} {steps:5}  {share:9.3f}  {seconds / longest:4.2f}")


if __name__ == "__main__":
    main()
