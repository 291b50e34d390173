"""Masks drawn by a diffusion model of their own beside real ones: how much they cover, how many nuclei, how large.

    uv run python tests/benchmarks/masks_drawn.py KUMAR_FOLDER OUT_FOLDER [--steps 500] [--count 96]

Trains on the masks of KUMAR's training images, at half their scale, 32 px a mask, with a class for the border; a run
that was stopped goes on. Real masks are crops of the test images, so the figures of the two need not be equal even if
the model is perfect; 'training' are those that it learns from. OUT_FOLDER gets a picture, which is not for shipping.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from cdm_core import SamplingConfig, StageConfig, TrainingConfig
from maskcond import (
    KUMAR_BORDER,
    Augmentation,
    LabelledImages,
    Labels,
    MaskDiffusion,
    MaskDiffusionNetwork,
    MaskDiffusionPlan,
    MaskPictureExamples,
    MaskPictures,
    instances_of_labels,
    labelled,
    read_kumar,
    sample_masks,
    train_mask_diffusion,
)
from maskcond.cascades.mask_plan import SMALL_UNET

SIDE_PX = 32


def figures(masks: list[Labels]) -> dict[str, float]:
    """Means over masks, and over all their nuclei."""
    instances = [instances_of_labels(mask, KUMAR_BORDER) for mask in masks]
    areas = np.concatenate([np.bincount(each.ravel())[1:] for each in instances])
    return {
        "share of nuclei": round(float(np.mean([mask > 0 for mask in masks])), 3),
        "share of border": round(float(np.mean([mask == 2 for mask in masks])), 3),
        "nuclei a mask": round(float(np.mean([each.max() for each in instances])), 2),
        "median area, px": float(np.median(areas)),
        "under 6 px, share": round(float(np.mean(areas < 6)), 3),
    }


def real(images: LabelledImages, plan: MaskDiffusionPlan, count: int) -> list[Labels]:
    examples = MaskPictureExamples(images, plan.pictures, image_px=SIDE_PX, augmentation=plan.augmentation, seed=12_345)
    return [plan.pictures.read(examples[draw]["image"].numpy()) for draw in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kumar", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--count", type=int, default=96)
    arguments = parser.parse_args()
    images = read_kumar(arguments.kumar)
    training = TrainingConfig(arguments.steps, 16, learning_rate=5e-4, warmup_steps=50, ema_decay=0.99)
    stage = StageConfig(SIDE_PX, replace(SMALL_UNET, dim=24), sampling=SamplingConfig(24, "dpmpp_2m"))
    plan = MaskDiffusionPlan(
        MaskPictures(KUMAR_BORDER.classes),
        (MaskDiffusionNetwork(stage, training),),
        Augmentation(crop_px=2 * SIDE_PX),
    )
    learnt = labelled(images.split("train"), KUMAR_BORDER)
    for event in train_mask_diffusion(plan, learnt, arguments.out, device="cpu", resume=True):
        if event.training.step % 50 == 0:
            print(event.network, event.training.step, f"loss {event.training.loss:.4f}", flush=True)
    drawn = list(sample_masks(MaskDiffusion.load(arguments.out / "model"), arguments.count))
    tested = real(labelled(images.split("seen", "unseen"), KUMAR_BORDER), plan, arguments.count)
    table = {"drawn": drawn, "training": real(learnt, plan, arguments.count), "test": tested}
    print(json.dumps({name: figures(masks) for name, masks in table.items()}, indent=1))
    rows = [
        np.concatenate([plan.pictures.codec.paint(mask) for mask in masks[:12]], axis=1) for masks in table.values()
    ]
    sheet = np.concatenate(rows)
    Image.fromarray(sheet).resize((sheet.shape[1] * 4, sheet.shape[0] * 4), 0).save(arguments.out / "masks-drawn.png")


if __name__ == "__main__":
    main()
