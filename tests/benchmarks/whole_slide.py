"""A slide of 40,000 x 40,000 px with the study's geometry, its networks replaced by a stand-in that takes no time.

    uv run python tests/benchmarks/whole_slide.py [--size 40000] [--joint] [--seconds 0.1] [--batch N] [--json FILE]

Everything else is what a real run has: contexts, order, canvas, executor, tissue, the pyramid. The stand-in returns the
part of the context that a patch enlarges, after a sleep of `--seconds` a patch of the last stage, and a sixteenth of it
for the stages before: a device that works while the host prepares. Prints, for every stage, seconds, and milliseconds a
patch; the peak memory of the process, and that of one which has only imported what it needs; how much longer the run
takes than its sleep; and checks the slide by opening it.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, UnetConfig
from urcdm import Level, RunSettings, SerialPatchExecutor, SlideRun, Task, Urcdm, UrcdmConfig
from urcdm.execution.fixed_point import pack
from urcdm.execution.tasks import DenoiseTask
from wsi_tiling import TissueRule

SIZES = (64, 256, 1024)
LEVELS = (Level("low", 40_000, 1024), Level("medium", 6_500, 1024), Level("high", 1_024, 1024))
BATCHES = (64, 32, 4)
"""Patches together in each stage, as full-size networks on a GPU of 80 GB take them."""
STEPS = 8


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stand_in_model() -> Urcdm:
    """The study's levels and stages, with the centre crop, on networks that are never called."""

    def stage(image_px: int, lowres_px: int | None, channels: int) -> StageConfig:
        unet = UnetConfig(
            dim=8, dim_mults=(1,), num_resnet_blocks=1, layer_attns=False, layer_cross_attns=False,
            attend_at_middle=False, cond_images_channels=channels,
        )  # fmt: skip
        return StageConfig(image_px, unet, lowres_px=lowres_px, sampling=SamplingConfig(steps=STEPS, method="ddim"))

    config = UrcdmConfig(LEVELS, mpp=0.25, tissue=TissueRule.everything())
    cascades = [
        CascadeConfig(
            tuple(stage(px, before, 6 if level else 0) for px, before in zip(SIZES, (None, *SIZES), strict=False))
        )
        for level in range(len(LEVELS))
    ]
    return Urcdm(config, [Cascade(cascade) for cascade in cascades])


class StandIn(SerialPatchExecutor):
    """Returns what a patch enlarges, or at the first level a made-up section."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.slept = seconds, 0.0

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        patch = tasks[0].patch if isinstance(tasks[0], DenoiseTask) else tasks[0]
        share = 1 if patch.stage == len(SIZES) - 1 else 1 / 16
        steps = STEPS if isinstance(tasks[0], DenoiseTask) else 1
        self._sleep(self.seconds * share * len(tasks) / steps)
        return [self._one(task) for task in tasks]

    def _one(self, task: Task) -> NDArray[Any]:
        if isinstance(task, DenoiseTask):
            return pack(self._one(task.patch).astype(np.float32) / 127.5 - 1)
        side = SIZES[task.stage]
        if task.context is None:
            return np.asarray(Image.fromarray(section()).resize((side, side)))
        return np.ascontiguousarray(task.context[..., 3:])

    def _sleep(self, seconds: float) -> None:
        begin = time.perf_counter()
        time.sleep(seconds)
        self.slept += time.perf_counter() - begin


def section() -> NDArray[np.uint8]:
    """A made-up section of tissue, (1024, 1024, 3)."""
    rng = np.random.default_rng(0)
    blobs = np.asarray(Image.fromarray((rng.random((24, 24)) * 255).astype(np.uint8)).resize((1024, 1024), 3)) / 255
    fine = rng.random((1024, 1024))
    inside = (np.hypot(*np.meshgrid(np.linspace(-1, 1, 1024), np.linspace(-1, 1, 1024))) < 0.9)[..., None]
    tissue = np.stack([200 - 60 * blobs, 120 - 40 * fine, 180 - 40 * blobs], axis=-1)
    return np.where(inside, tissue, (242, 243, 242)).astype(np.uint8)


def run(size: int, joint: bool, seconds: float, batches: Sequence[int], folder: Path) -> dict[str, Any]:
    before = peak_mib()
    model = stand_in_model()
    settings = RunSettings((size, size), joint=joint)
    stages: dict[str, list[float]] = {}
    begin = time.perf_counter()
    with StandIn(seconds) as executor:
        slide_run = SlideRun.open(folder / "canvas", model, settings)
        batch = {(level, stage): number for level in range(len(LEVELS)) for stage, number in enumerate(batches)}
        for event in slide_run.sample(executor, batch):
            now = time.perf_counter() - begin
            stage = stages.setdefault(f"{event.level} {event.image_px}", [now, now, event.total])
            stage[1] = now
            print(f"\r{event.level} {event.image_px}: {event.done}/{event.total}  {now:.0f} s", end="", file=sys.stderr)
    drawn = time.perf_counter() - begin
    for event in slide_run.write(folder / "slide.tiff"):
        print(f"\rwriting: {event.done}/{event.total}   ", end="", file=sys.stderr)
    written = time.perf_counter() - begin - drawn
    print(file=sys.stderr)
    patches = sum(len(geometry.grid) for geometry in model.geometry(settings.size_l0))
    with openslide.OpenSlide(folder / "slide.tiff") as slide:
        opened = {"size_px": slide.dimensions, "levels": slide.level_count, "mpp": slide.properties["openslide.mpp-x"]}
    return {
        "size_px": size,
        "joint": joint,
        "batches": list(batches),
        "patches": patches,
        "stages": {
            name: {"seconds": round(end - start, 1), "ms_a_patch": round(1000 * (end - start) / total, 1)}
            for name, (start, end, total) in stages.items()
        },
        "seconds_drawing": round(drawn, 1),
        "seconds_writing": round(written, 1),
        "ms_a_patch_all_stages": round(1000 * (drawn + written) / patches, 1),
        "seconds_slept": round(executor.slept, 1),
        "run_to_sleep": round((drawn + written) / executor.slept, 3) if seconds else None,
        "peak_mib": round(peak_mib()),
        "peak_mib_after_imports": round(before),
        "canvas_mib": round(
            sum(file.stat().st_size for file in (folder / "canvas").rglob("*") if file.is_file()) / 2**20
        ),
        "slide": opened,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--batch", type=int, help="in every stage")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    batches = [options.batch] * len(SIZES) if options.batch else BATCHES
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.size, options.joint, options.seconds, batches, Path(folder))
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
