"""Labelled images as a data set of nnU-Net's."""

import csv
import json
import shutil
from pathlib import Path

import PIL.Image

from maskcond.classes import ClassSet
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import Pairs
from maskcond.segmentation.pairs import check_pairs, labels_of

CHANNELS = ("red", "green", "blue")
"""Names that nnU-Net has no rule for, so that it gives each channel of each image mean 0 and variance 1."""


def export_nnunet_dataset(pairs: Pairs, folder: Path, classes: ClassSet) -> None:
    """Writes labelled images in the form that nnU-Net reads.

    RGB images go to `imagesTr/pair-00001_0000.png`, labels to `labelsTr/pair-00001.png`, and so on; `dataset.json` has
    the classes, and `pairs.csv` the name of each pair.

    Args:
        pairs: Images with labels.
        folder: A new one; named DatasetNNN_NAME, nnU-Net finds it. It is there once it is whole.
        classes: Of the labels.

    Raises:
        SegmentationError: The folder exists, or pairs cannot be learned from: see `check_pairs`.
    """
    if folder.exists():
        raise SegmentationError(f"{folder} exists; take another folder")
    check_pairs(pairs, classes)
    whole = folder
    folder = whole.with_name(f".{whole.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    names = []
    for number, pair in enumerate(pairs, 1):
        case = f"pair-{number:05d}"
        PIL.Image.fromarray(pair.image).save(folder / "imagesTr" / f"{case}_0000.png", compress_level=1)
        PIL.Image.fromarray(labels_of(pair)).save(folder / "labelsTr" / f"{case}.png", compress_level=1)
        names.append((case, pair.name))
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("pair", "name"), *names])
    described = {
        "channel_names": {str(number): name for number, name in enumerate(CHANNELS)},
        "labels": {"background": 0} | {name: number for number, name in enumerate(classes.names, 1)},
        "numTraining": len(names),
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    folder.replace(whole)
