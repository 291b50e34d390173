"""Samples a slide from a model's folder, and writes it as a pyramidal TIFF: `sample_slide.py MODEL SLIDE.tiff`."""

import argparse
from pathlib import Path

from urcdm import LocalPatchExecutor, RunSettings, SlideRun, Urcdm


def main() -> None:
    """Samples the patches of every level, writes the slide, and prints how well its patches join."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a model, such as runs/mine/model")
    parser.add_argument("slide", type=Path, help="the file to write")
    parser.add_argument("--size", type=int, default=2048, help="width and height of the slide in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    model = Urcdm.load(options.model)
    settings = RunSettings(size_l0=(options.size, options.size), seed=options.seed)
    run = SlideRun.open(options.slide.with_suffix(".canvas"), model, settings)
    with LocalPatchExecutor(model) as executor:
        for event in run.sample(executor, batch=8):
            print(f"{event.level} {event.image_px} px: {event.done} of {event.total} patches")
    for _ in run.write(options.slide, description="synthetic, no patient"):
        pass
    for level in run.quality():
        print(level)
    run.remove_canvas()


if __name__ == "__main__":
    main()
