"""Export of labelled images as an nnU-Net data set."""

import csv
import json
import shutil
import uuid
from pathlib import Path

import PIL.Image

from maskcond.masks.classes import ClassSet, check_class_names
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import Pairs
from maskcond.segmentation.pairs import check_pairs, labels_of

CHANNELS = ("red", "green", "blue")
"""Channel names without a special rule in nnU-Net, so that it gives each channel of each image mean 0, variance 1."""


def export_nnunet_dataset(pairs: Pairs, folder: Path, classes: ClassSet) -> None:
    """Writes labelled images as a data set that nnU-Net reads.

    RGB images go to `imagesTr/pair-00001_0000.png`, labels to `labelsTr/pair-00001.png`, and so on; `dataset.json` has
    the classes, and `pairs.csv` the name of each pair.

    Args:
        pairs: Images with labels.
        folder: New folder, which appears once it is complete; nnU-Net expects a name such as DatasetNNN_NAME.
        classes: Classes of the labels.

    Raises:
        MaskError: A class has a name that nnU-Net reserves. Nothing is written then, nor after the next error.
        SegmentationError: The folder exists, or the pairs are invalid, see `check_pairs`.
    """
    check_class_names(classes)
    if folder.exists():
        raise SegmentationError(f"{folder} exists; take another folder")
    check_pairs(pairs, classes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        _write(pairs, partial, classes)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(pairs: Pairs, folder: Path, classes: ClassSet) -> None:
    (folder / "imagesTr").mkdir()
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
