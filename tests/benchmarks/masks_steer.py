"""Whether masks steer: images drawn from test masks, segmented by their haematoxylin, against those masks and others.

    uv run python tests/benchmarks/masks_steer.py KUMAR_FOLDER OUT_FOLDER [--plan kumar-small] [--per-image 8]

Trains the plan on KUMAR's training images (some ten minutes of one core for 'kumar-small'; a run that was stopped goes
on), then draws an image from each of some crops of the test images' masks, told their tissue and disease. The segmenter
knows nothing of the model: haematoxylin by colour deconvolution, smoothed, over Otsu's threshold of the image. Dice is
that of its result with the image's own mask, and with that of another crop of the same test image. The same of the
real crops is what the segmenter can do at best. OUT_FOLDER gets a picture; as KUMAR's licence asks, it is not shipped.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from maskcond import Image as Pixels
from maskcond import (
    Labels,
    MaskCascade,
    augment,
    dice,
    labelled,
    read_kumar,
    read_mask_plan,
    resize_by_area,
    sample_images,
    train_mask_cascade,
)


def nuclei_by_colour(image: Pixels) -> Labels:
    haematoxylin = ndimage.gaussian_filter(rgb2hed(image)[..., 0], 1.0)
    return (haematoxylin > threshold_otsu(haematoxylin)).astype(np.uint8)


def mean_with_error(values: list[float]) -> str:
    """The mean, and 1.96 standard errors over crops."""
    return f"{np.mean(values):.3f} ± {1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kumar", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", type=Path, default=Path("kumar-small"))
    parser.add_argument("--per-image", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=1.0)
    arguments = parser.parse_args()
    plan, images = read_mask_plan(arguments.plan), read_kumar(arguments.kumar)
    classes, codec = plan.input.codec.classes, plan.input.codec
    told = {"data": "KUMAR, its 16 training images; CC BY-NC-SA 4.0, not for shipping"}
    training = labelled(images.split("train"), classes)
    for event in train_mask_cascade(plan, training, arguments.out, device="cpu", resume=True, provenance=told):
        if event.training.step % 50 == 0:
            print(event.network, event.training.step, "of", event.steps, f"loss {event.training.loss:.4f}", flush=True)
    model = MaskCascade.load(arguments.out / "model")

    side, rng = model.image_px, np.random.default_rng(1)
    crops = []
    for found, _ in itertools.product(labelled(images.split("seen", "unseen"), classes), range(arguments.per_image)):
        image, mask = augment(found.image, found.labels, plan.augmentation, rng)
        pixels = resize_by_area(image.transpose(2, 0, 1), (side, side)).transpose(1, 2, 0)
        crops.append((found.given, np.rint(pixels).astype(np.uint8), codec.resize_labels(mask, (side, side))))
    given, real, masks = map(list, zip(*crops, strict=True))
    drawn = [each.image for each in sample_images(model, masks, given, guidance=arguments.guidance)]

    count = arguments.per_image
    others = [masks[i - i % count + (i + 1) % count] for i in range(len(masks))]
    table = {}
    for name, pictures in (("real", real), ("drawn", drawn)):
        segmented = [nuclei_by_colour(picture) for picture in pictures]
        for against, wanted in (("own mask", masks), ("another crop's mask", others)):
            scores = [dice(truth=truth, predicted=found) for truth, found in zip(wanted, segmented, strict=True)]
            table[f"{name}, {against}"] = mean_with_error(scores)
    print(json.dumps({"crops": len(masks), "Dice": table}, indent=1))

    columns = range(0, len(masks), max(arguments.per_image // 2, 1))
    rows = [[codec.paint(masks[i]) for i in columns], [drawn[i] for i in columns], [real[i] for i in columns]]
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2), 0).save(arguments.out / "masks-steer.png")


if __name__ == "__main__":
    main()
