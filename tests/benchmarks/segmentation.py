"""The small U-Net on the KUMAR images: learned from 16, Dice and AJI on 8 of organs seen and 6 of organs unseen.

    uv run python tests/benchmarks/segmentation.py OUT_FOLDER [--steps N] [--seed N] [--device DEVICE] [--borders-only]
        [--validate] [--pictures]

The model learns the inside, the border and the distance map of nuclei, and a watershed separates the predicted nuclei;
with `--borders-only` it learns no distances. The model stays in OUT_FOLDER; called again, an interrupted training goes
on, and a finished one is only measured. `--validate` trains on 12 of the 16 and scores the other four, one an organ,
to choose settings without a look at the test images. `--pictures` writes
each test image with true and predicted outlines there (the images' licence, CC BY-NC-SA, goes on in them). Prints the
means of each split, with an interval over images by bootstrap.
"""

import argparse
import time
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from maskcond import KUMAR_BORDER, Augmentation, labelled, read_kumar, score
from maskcond.annotations.annotated_images import TRAIN, AnnotatedImage
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.masks.arrays import Instances
from maskcond.metrics import SegmentationScores
from maskcond.segmentation import NucleiTask, SmallUnet, SmallUnetSettings

KUMAR_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "kumar"
RESAMPLES = 10_000


def settings(steps: int, *, borders_only: bool) -> SmallUnetSettings:
    crops = Augmentation(crop_px=256, rotation_degrees=45, elastic_px=2, elastic_scale_px=16, colour=0.2, scale=0.2)
    distances = SmallUnetSettings(
        features=(32, 64, 128, 256),
        steps=steps,
        batch_size=2,
        augmentation=crops,
        class_weights=(1.0, 1.0, 2.0),
        distances=True,
        block_px=2,
        flips=True,
    )
    return replace(distances, distances=False) if borders_only else distances


def draw(path: Path, shown: AnnotatedImage, predicted: Instances) -> None:
    """The image, beside it with true outlines in green and predicted ones in red."""
    both = shown.image.copy()
    both[find_boundaries(shown.instances, mode="inner")] = (0, 220, 0)
    both[find_boundaries(predicted, mode="inner")] = (230, 0, 0)
    Image.fromarray(np.concatenate([shown.image, both], axis=1)).save(path)


def line(name: str, scores: list[SegmentationScores]) -> str:
    table = np.array([astuple(each)[:4] for each in scores])
    drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    low, high = np.percentile(table[drawn].mean(axis=1), (2.5, 97.5), axis=0)
    figures = (
        f"{what} {mean:.3f} ({a:.3f} to {b:.3f})"
        for what, mean, a, b in zip(("Dice", "AJI", "AJI+", "PQ"), table.mean(axis=0), low, high, strict=True)
    )
    return f"{name:7} {len(table):2} images: {', '.join(figures)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--borders-only", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--pictures", action="store_true")
    arguments = parser.parse_args()

    images = read_kumar(KUMAR_FOLDER)
    task = NucleiTask()
    chosen = settings(arguments.steps, borders_only=arguments.borders_only)
    model = SmallUnet(arguments.out_folder / "model", KUMAR_BORDER, chosen, device=arguments.device)
    started = time.monotonic()
    pairs = labelled(images.split(TRAIN), KUMAR_BORDER)
    tested: list[AnnotatedImage] = list(images.split("seen", "unseen"))
    if arguments.validate:
        first_of = {image.tissue: number for number, image in reversed(list(enumerate(images.split(TRAIN))))}
        tested = [replace(images.split(TRAIN)[number], split="held out") for number in sorted(first_of.values())]
        pairs = LabelledImages(source for number, source in enumerate(pairs.sources) if number not in first_of.values())
    for progress in model.fit(pairs, seed=arguments.seed):
        if progress.done % 100 == 0:
            print(f"{progress.done} of {progress.total}: loss {progress.loss:.3f}, {time.monotonic() - started:.0f} s")

    scores: dict[str, list[SegmentationScores]] = {}
    for shown in tested:
        (labels,) = model.predict([shown.image])
        predicted = task.mask(labels)
        scores.setdefault(shown.split, []).append(score(truth=shown.instances, predicted=predicted))
        if arguments.pictures:
            draw(arguments.out_folder / f"{shown.name}.png", shown, predicted)
    for name, of_split in {**scores, "all": [each for found in scores.values() for each in found]}.items():
        print(line(name, of_split))


if __name__ == "__main__":
    main()
