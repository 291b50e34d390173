"""Samples images of a folder of masks from a mask-conditioned cascade: `images_from_masks.py MODEL MASKS OUT`."""

import argparse
from pathlib import Path

import PIL.Image

from image_files import list_images, paths_by_stem, read_numbers
from maskcond import MaskCascade, sample_images


def main() -> None:
    """Writes the variants of every mask as PNG files, which are named by the mask and the variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a model, such as that of maskcond.train_mask_cascade")
    parser.add_argument("masks", type=Path, help="folder of square masks of class numbers, 0 for the background")
    parser.add_argument("out", type=Path, help="folder for the images")
    parser.add_argument("--variants", type=int, default=3, help="images of each mask")
    options = parser.parse_args()

    model = MaskCascade.load(options.model)
    masks = {name: read_numbers(path) for name, path in paths_by_stem(list_images(options.masks).paths).items()}
    names = list(masks)
    options.out.mkdir(parents=True, exist_ok=True)
    for sampled in sample_images(model, list(masks.values()), variants=options.variants):
        path = options.out / f"{names[sampled.mask]}-{sampled.variant}.png"
        PIL.Image.fromarray(sampled.image).save(path)
        print(path)


if __name__ == "__main__":
    main()
