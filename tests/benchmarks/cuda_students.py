"""The study's networks at the steps of students on a GPU: how near they come to what the device can do.

    uv run python tests/benchmarks/cuda_students.py [--steps 4] [--networks 1,2,3] [--json FILE]

Networks are those of the preset 'kidney-unconditional', with random weights: what students draw does not change what
they cost. Each is sampled in bf16 at the batch that is found best, with its network compiled ('a step'), and with all
steps compiled as one function and one CUDA graph ('the loop'). The floor is that of the floating-point operations of
the same steps at 790 TFLOP/s, which is an H100's; the share of it is that of the faster way. Projected are one image of
1,024 px and a slide of 40,000 px, of 1 + 49 + 2,116 such images. `--smoke` runs everything in small, on a CPU, where
the shares mean nothing: networks and loops are traced as for a GPU, but no kernels are compiled.
"""

import argparse
import contextlib
import functools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from cuda_speed import LIMITS, STUDY, clear, fresh, in_small, wait
from imagen_speed import take_turns

from cdm_core import StageConfig, sample_stage
from cdm_core.devices.batch_size import best_batch_size
from cdm_core.diffusion.sampler import TakeSteps
from cdm_core.distillation.teacher import student_of
from cdm_core.stages.inference import compile_in_place, compiled_steps, prepare_for_sampling

TFLOP = (0.343, 0.458, 9.66)
"""Of one forward of one image, for each network."""
TFLOP_A_SECOND = 790
IMAGES_OF_A_SLIDE = 1 + 49 + 2116


def sampled(config: StageConfig, limit: int, device: torch.device, *, graphs: bool) -> dict[str, Any]:
    """Milliseconds for one image of a stage, all its steps, each way."""
    unet = prepare_for_sampling(fresh(config, device), precision="bf16")
    lowres = (
        None if config.lowres_px is None else torch.rand(limit, 3, config.lowres_px, config.lowres_px, device=device)
    )

    def draw(batch: int, take: TakeSteps | None = None, steps: int | None = None) -> None:
        generators = [torch.Generator(device).manual_seed(i) for i in range(batch)]
        given = None if lowres is None else lowres[:batch]
        sample_stage(unet, config, generators=generators, lowres=given, steps=steps, take=take)
        wait(device)

    best = best_batch_size(lambda batch, steps: draw(batch, steps=steps), limit=limit)
    found: dict[str, Any] = {"batch": best.size, "eager_ms": 1e3 * best.seconds_per_image * config.sampling.steps}

    def timed(name: str, run: Callable[[], None]) -> None:
        started = time.perf_counter()
        run()
        found[f"{name}_compilation_s"] = time.perf_counter() - started
        run()  # CUDA graphs are recorded in the second run
        found[f"{name}_ms"] = 1e3 * take_turns(3, **{name: run})[name] / best.size

    take = compiled_steps(mode="reduce-overhead" if graphs else None)
    timed("loop", lambda: draw(best.size, take))
    clear()
    compile_in_place(unet)
    timed("step", lambda: draw(best.size))
    clear()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="steps of every student")
    parser.add_argument("--networks", default="1,2,3")
    parser.add_argument("--smoke", action="store_true", help="in small, on the CPU")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cpu" if arguments.smoke else "cuda")
    name = "CPU" if arguments.smoke else torch.cuda.get_device_name(device)
    figures: dict[str, Any] = {"device": name, "torch": torch.__version__, "steps": arguments.steps}
    print(f"{name}, torch {torch.__version__}", flush=True)
    for number in map(int, arguments.networks.split(",")):
        config, limit = (
            student_of(replace(STUDY.cascade.stages[number - 1], objective="v"), arguments.steps),
            LIMITS[number - 1],
        )
        compiler: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if arguments.smoke:
            config, limit = in_small(config), 2
            compiler = mock.patch("torch.compile", functools.partial(torch.compile, backend="eager"))
        with compiler:
            found = sampled(config, limit, device, graphs=not arguments.smoke)
        floor = 1e3 * arguments.steps * TFLOP[number - 1] / TFLOP_A_SECOND
        found |= {"floor_ms": floor, "share_of_floor": floor / min(found["loop_ms"], found["step_ms"])}
        figures[f"U-Net {number}"] = found
        print(f"U-Net {number}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()), flush=True)
    stages = [figures.get(f"U-Net {number}") for number in (1, 2, 3)]
    if all(stages):
        seconds = sum(min(stage["loop_ms"], stage["step_ms"]) for stage in stages if stage) / 1e3
        figures |= {"image_s": seconds, "slide_minutes": seconds * IMAGES_OF_A_SLIDE / 60}
        print(f"an image of 1,024 px: {seconds:.3g} s; a slide of 40,000 px: {figures['slide_minutes']:.3g} minutes")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
