"""Scores of a folder of predicted masks against a folder of true masks, and their means over splits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from image_files import ImageFileError, list_images, paths_by_stem
from maskcond.annotations.annotated_images import read_numbers
from maskcond.errors import MaskError
from maskcond.masks.instances import check_instances
from maskcond.metrics import dice, score
from run_folder import plain_name, read_table

SUFFIXES = (".png", ".tif", ".tiff")
ALL_IMAGES = "all"
"""Name of the mean over all images; no split may have it."""
RESAMPLES = 2000
_RENAME_ALL = "that is the name of the mean over all images: rename the split"
_SHOWN = 3


@dataclass(frozen=True)
class MaskPairs:
    """True masks and predicted masks of the same images.

    Attributes:
        files: The true and the predicted mask of each image by its name.
        notes: Skipped files, a line each.
    """

    files: dict[str, tuple[Path, Path]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ScoreMean:
    """The mean of a score over images.

    Attributes:
        split: Name of the images' split, or 'all'.
        score: Name of the score.
        images: Number of images.
        value: The mean, every image with the same weight.
        interval: 95 % bootstrap interval over images; None for a single image.
    """

    split: str
    score: str
    images: int
    value: float
    interval: tuple[float, float] | None


def pair_masks(truth: Path, predicted: Path) -> MaskPairs:
    """Pairs the masks of two folders by their names without endings, compared in Unicode form NFC.

    Raises:
        MaskError: A folder has no masks, two masks share a name, or a mask has no partner.
    """
    notes: list[str] = []
    sides = [_masks(folder, notes) for folder in (truth, predicted)]
    if alone := sorted(sides[0].keys() ^ sides[1].keys()):
        raise MaskError(f"{truth} and {predicted}: masks in one of the folders only: {_first(alone)}")
    return MaskPairs({name: (sides[0][name], sides[1][name]) for name in sorted(sides[0])}, tuple(notes))


def read_splits(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Reads the split of each image from a CSV file with the columns 'image' and 'split'; it may list other images.

    Args:
        path: The file. Images have the names of their masks, without the ending.
        names: Names of the images.

    Raises:
        MaskError: A split is called 'all', or an image has none.
        TableError: The file cannot be read, or has an image twice.
    """
    rows = read_table(path, ("image", "split")).by_key("image")
    for row in rows.values():
        if row["split"].casefold() == ALL_IMAGES:
            raise MaskError(f"{path}: line {row.line}: a split is called '{row['split']}'; {_RENAME_ALL}")
    splits = {name: rows[name]["split"] for name in names if name in rows}
    if missing := [name for name in names if not splits.get(name)]:
        raise MaskError(
            f"{path}: {len(missing)} of {len(names)} images have no split, {missing[0]} among them; add a line for each"
        )
    return splits


def score_instances(truth: Path, predicted: Path) -> dict[str, float]:
    """Returns the scores of a predicted mask of nuclei by their names, each in [0, 1]; see `maskcond.score`.

    Raises:
        MaskError: A mask cannot be read or has one number for all nuclei, or the two masks differ in size.
    """
    masks = read_numbers(truth), read_numbers(predicted)
    for path, mask in zip((truth, predicted), masks, strict=True):
        try:
            check_instances(mask)
        except MaskError as error:
            raise MaskError(f"{path}: {error}") from None
    return asdict(score(truth=masks[0], predicted=masks[1]))


def score_classes(truth: Path, predicted: Path, classes: Sequence[int]) -> dict[str, float]:
    """Returns the Dice of each class of a predicted mask, and their mean.

    Raises:
        MaskError: A mask cannot be read, or the two differ in size.
    """
    masks = read_numbers(truth), read_numbers(predicted)
    scores = {f"dice of {number}": dice(truth=masks[0] == number, predicted=masks[1] == number) for number in classes}
    return scores | {"mean dice": float(np.mean(list(scores.values())))}


def mask_classes(files: Iterable[tuple[Path, Path]]) -> tuple[list[int], str | None]:
    """Returns the classes of true masks, without the background, and a note on further classes of predicted masks.

    Raises:
        MaskError: A mask cannot be read, or the true masks have no class.
    """
    true, predicted = (
        {int(number) for path in paths for number in np.unique(read_numbers(path))} - {0}
        for paths in zip(*files, strict=True)
    )
    if not true:
        raise MaskError("there is no class in the true masks: all their numbers are 0")
    others = [str(number) for number in sorted(predicted - true)]
    note = f"classes that no true mask has: {_first(others)}; they count as background, check the numbers"
    return sorted(true), note if others else None


def mean_by_split(
    scores: Mapping[str, Mapping[str, float]], split_of: Mapping[str, str], rng: np.random.Generator
) -> list[ScoreMean]:
    """Returns the mean of every score over the images of each split, and over all.

    Args:
        scores: Scores of each image.
        split_of: Split of each image; images without one are missing.
        rng: Random generator of the bootstrap samples.

    Raises:
        MaskError: A split is called 'all'.
    """
    if ALL_IMAGES in split_of.values():
        raise MaskError(f"a split is called '{ALL_IMAGES}'; {_RENAME_ALL}")
    splits = {split: [name for name in scores if split_of.get(name) == split] for split in sorted({*split_of.values()})}
    splits[ALL_IMAGES] = list(scores)
    means = []
    for split, names in splits.items():
        samples = rng.integers(len(names), size=(RESAMPLES, len(names)))
        for title in scores[names[0]]:
            values = np.array([scores[name][title] for name in names])
            low, high = np.quantile(values[samples].mean(axis=1), (0.025, 0.975))
            interval = (float(low), float(high)) if len(names) > 1 else None
            means.append(ScoreMean(split, title, len(names), float(values.mean()), interval))
    return means


def _masks(folder: Path, notes: list[str]) -> dict[str, Path]:
    """The masks of a folder by their names; adds notes."""
    try:
        listed = list_images(folder, SUFFIXES)
        masks = {plain_name(stem): path for stem, path in paths_by_stem(listed.paths).items()}
    except ImageFileError as error:
        raise MaskError(str(error)) from None
    notes += [f"{folder}: {note}" for note in listed.notes]
    if not masks:
        raise MaskError(f"{folder}: no masks in it (names ending in {', '.join(SUFFIXES)})")
    return masks


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
