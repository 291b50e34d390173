"""The small U-Net on the KUMAR images: learned from 16, Dice and AJI on 8 of organs seen and 6 of organs unseen.

    uv run python tests/benchmarks/segmentation.py OUT_FOLDER [--steps N] [--seed N] [--device DEVICE] [--pictures]

Labels tell the inside of nuclei from their borders, and a watershed makes nuclei of what is predicted. The model stays
in OUT_FOLDER; called again, an interrupted training goes on, and a finished one is only measured. `--pictures` writes
each test image with true and predicted outlines there (the images' licence, CC BY-NC-SA, goes on in them). Prints the
means of each split, with an interval over images by bootstrap.
"""

import argparse
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from maskcond import KUMAR_BORDER, Augmentation, labelled, read_kumar, score
from maskcond.annotations.annotated_images import TRAIN, AnnotatedImage
from maskcond.masks.arrays import Instances
from maskcond.metrics import SegmentationScores
from maskcond.segmentation import NucleiTask, SmallUnet, SmallUnetSettings

KUMAR_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "kumar"
RESAMPLES = 10_000


def settings(steps: int) -> SmallUnetSettings:
    return SmallUnetSettings(
        features=(16, 32, 64, 128),
        steps=steps,
        batch_size=4,
        augmentation=Augmentation(crop_px=128, rotation_degrees=45, elastic_px=2, elastic_scale_px=16, colour=0.2),
        class_weights=(1.0, 1.0, 2.0),
    )


def draw(path: Path, shown: AnnotatedImage, predicted: Instances) -> None:
    """The image, beside it with true outlines in green and predicted ones in red."""
    both = shown.image.copy()
    both[find_boundaries(shown.instances, mode="inner")] = (0, 220, 0)
    both[find_boundaries(predicted, mode="inner")] = (230, 0, 0)
    Image.fromarray(np.concatenate([shown.image, both], axis=1)).save(path)


def line(name: str, scores: list[SegmentationScores]) -> str:
    table = np.array([astuple(each)[:3] for each in scores])
    drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    low, high = np.percentile(table[drawn].mean(axis=1), (2.5, 97.5), axis=0)
    figures = (
        f"{what} {mean:.3f} ({a:.3f} to {b:.3f})"
        for what, mean, a, b in zip(("Dice", "AJI", "AJI+"), table.mean(axis=0), low, high, strict=True)
    )
    return f"{name:7} {len(table):2} images: {', '.join(figures)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", action="store_true")
    told = parser.parse_args()

    images = read_kumar(KUMAR_FOLDER)
    task = NucleiTask()
    model = SmallUnet(told.out_folder / "model", KUMAR_BORDER, settings(told.steps), device=told.device)
    started = time.monotonic()
    for progress in model.fit(labelled(images.split(TRAIN), KUMAR_BORDER), seed=told.seed):
        if progress.done % 100 == 0:
            print(f"{progress.done} of {progress.total}: loss {progress.loss:.3f}, {time.monotonic() - started:.0f} s")

    scores: dict[str, list[SegmentationScores]] = {"seen": [], "unseen": []}
    for shown in images.split("seen", "unseen"):
        (labels,) = model.predict([shown.image])
        predicted = task.mask(labels)
        scores[shown.split].append(score(truth=shown.instances, predicted=predicted))
        if told.pictures:
            draw(told.out_folder / f"{shown.name}.png", shown, predicted)
    for name, found in {**scores, "all": scores["seen"] + scores["unseen"]}.items():
        print(line(name, found))


if __name__ == "__main__":
    main()
