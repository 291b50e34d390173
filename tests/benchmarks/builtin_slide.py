"""The built-in slide beside the real one: time, memory, its report's figures, and a picture of both at three zooms.

    uv run python tests/benchmarks/builtin_slide.py REAL_SLIDE OUT_FOLDER [--seed N]

Draws the built-in slide with `urcdm-app sample` in a process of its own. Sharpness is that of `urcdm.sharpness`, as a
share of the real slide's. The other figures of quality are those of the run's report, see `urcdm.level_quality`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from urcdm import sharpness
from wsi_tiling import Image as Pixels
from wsi_tiling import Slide, open_slide

PANEL_PX = 512
GAP_PX = 8


def whole(slide: Slide) -> Pixels:
    size = slide.size_l0
    return slide.read((0, 0), size, size)


def fullest(slide: Slide, field_l0: int, inside: tuple[int, int, int]) -> tuple[int, int]:
    """The corner of the field with most structure and least glass, inside a square (x, y, side); level-0 px."""
    x0, y0, side = inside
    steps = range(0, side - field_l0 + 1, max(field_l0 // 4, 1))

    def structure(corner: tuple[int, int]) -> float:
        grey = slide.read(corner, field_l0, 128).mean(axis=2)
        return float(np.abs(np.diff(grey, axis=1)).mean() * (grey < 200).mean() ** 2)

    return max(((x0 + x, y0 + y) for x in steps for y in steps), key=structure)


def three_zooms(slide: Slide) -> Pixels:
    """A field of 2,048 level-0 px, one of 512 inside it and one of 192 inside that, each PANEL_PX wide."""
    width, height = slide.size_l0
    whole_field = ((width - 2048) // 2, (height - 2048) // 2, 2048)
    middle = (*fullest(slide, 512, whole_field), 512)
    near = (*fullest(slide, 192, middle), 192)
    panels = [slide.read((x, y), side, PANEL_PX) for x, y, side in (whole_field, middle, near)]
    gap = np.full((PANEL_PX, GAP_PX, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    drawn = arguments.out / "slide.tiff"
    command = [
        sys.executable,
        "-m",
        "urcdm_app",
        "sample",
        "--out",
        str(drawn),
        "--overwrite",
        "--seed",
        arguments.seed,
    ]
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    with open_slide(drawn) as fake, open_slide(arguments.real) as real:
        figures = {
            "seconds": round(seconds, 1),
            "peak_memory_gib": round(memory, 2),
            "cores": len(os.sched_getaffinity(0)),
            "quality": json.loads(drawn.with_suffix(".json").read_text(encoding="utf-8"))["quality"],
            "sharpness_generated": round(sharpness(whole(fake)), 2),
            "sharpness_real": round(sharpness(whole(real)), 2),
        }
        figures["sharpness_share"] = round(figures["sharpness_generated"] / figures["sharpness_real"], 3)
        for name, slide in (("generated", fake), ("real", real)):
            Image.fromarray(three_zooms(slide)).save(arguments.out / f"{name}.jpg", quality=88)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
