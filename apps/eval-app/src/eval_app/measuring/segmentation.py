"""`eval-app seg`: how well predicted masks agree with true ones."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from eval_app.outputs import check_ending, own_files
from image_files import ImageFileError, list_images, paths_by_stem
from maskcond import MaskError, check_instances, dice, read_numbers, score
from maskcond.masks.arrays import Numbers
from run_folder import UsageError, plain_name, read_table, whole_file
from run_folder.cli.console import console, progress_bars, say

SUFFIXES = (".png", ".tif", ".tiff")
ALL = "all"
RESAMPLES = 2000
_RENAME_ALL = "that is the name of the mean over all images: rename the split"
_SHOWN = 3
_FORMAT = "eval-app segmentation 1"
Scores = dict[str, float]
"""Figures of one image by name, each in [0, 1]."""


@dataclass(frozen=True)
class Mean:
    """A figure over images.

    Attributes:
        group: Which images.
        figure: Which figure.
        images: How many images.
        value: Its mean over them, each with the same weight.
        interval: 95 % bootstrap over images; None for one image.
    """

    group: str
    figure: str
    images: int
    value: float
    interval: tuple[float, float] | None


def run_seg(
    *, truth: Path, predicted: Path, semantic: bool, groups: Path | None, out: Path | None, seed: int, overwrite: bool
) -> None:
    """Measures masks; see `eval_app.cli.measuring.seg` for the arguments.

    Raises:
        UsageError: A file is in the way, or masks do not pair.
        TableError: The table of groups cannot be read.
        MaskcondError: A mask cannot be read, or two are of different sizes.
    """
    if out is not None:
        check_ending("--out", out, ".json")
    with own_files(filter(None, (out,)), overwrite=overwrite, inputs=() if groups is None else (groups,)):
        pairs = paired(truth, predicted)
        group_of = {} if groups is None else read_groups(groups, list(pairs))
        numbers = _classes_to_measure(pairs.values()) if semantic else []
        scores: dict[str, Scores] = {}
        with progress_bars() as bars:
            task = bars.add_task("images", total=len(pairs))
            for name, files in pairs.items():
                try:
                    scores[name] = _scores(files, semantic=semantic, numbers=numbers)
                except MaskError as error:
                    raise UsageError(f"{name}: {error}") from None
                bars.advance(task)
        found = means(scores, group_of, np.random.default_rng(seed))
        _show(found)
        if out is not None:
            told = {
                "format": _FORMAT,
                "truth": str(truth),
                "predicted": str(predicted),
                "means": [asdict(mean) for mean in found],
                "images": [{"image": name, "group": group_of.get(name), **each} for name, each in scores.items()],
            }
            with whole_file(out) as partial:
                partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            say(f"{out} (every image)")


def paired(truth: Path, predicted: Path) -> dict[str, tuple[Path, Path]]:
    """The masks of two folders by their names without endings, compared in Unicode form NFC.

    Raises:
        UsageError: A folder has none, two masks have one name, or a mask has no partner.
    """
    sides = [_masks(folder) for folder in (truth, predicted)]
    alone = sorted(sides[0].keys() ^ sides[1].keys())
    if alone:
        shown = ", ".join(alone[:_SHOWN]) + (f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else "")
        raise UsageError(f"{truth} and {predicted}: masks in one of the folders only: {shown}")
    return {name: (sides[0][name], sides[1][name]) for name in sorted(sides[0])}


def read_groups(path: Path, names: list[str]) -> dict[str, str]:
    """Reads the split of each image from a CSV file with the columns 'image' and 'split'; it may hold other images.

    Images are named as their masks are, without the ending.

    Raises:
        UsageError: A split is called 'all', or an image has none.
        TableError: The file cannot be read, or gives an image twice.
    """
    rows = read_table(path, ("image", "split")).by_key("image")
    for row in rows.values():
        if row["split"].casefold() == ALL:
            raise UsageError(f"{path}: line {row.line}: a split is called '{row['split']}'; {_RENAME_ALL}")
    splits = {name: rows[name]["split"] for name in names if name in rows}
    if missing := [name for name in names if not splits.get(name)]:
        raise UsageError(
            f"{path}: {len(missing)} of {len(names)} images have no split, {missing[0]} among them; add a line for each"
        )
    return splits


def by_class(truth: Numbers, predicted: Numbers, numbers: list[int]) -> Scores:
    """Dice of every class, and their mean."""
    found = {f"dice of {number}": dice(truth=truth == number, predicted=predicted == number) for number in numbers}
    return found | {"mean dice": float(np.mean(list(found.values())))}


def means(scores: Mapping[str, Scores], group_of: Mapping[str, str], rng: np.random.Generator) -> list[Mean]:
    """The mean of every figure over the images of each group and over all.

    Raises:
        UsageError: A group is called 'all'.
    """
    if ALL in group_of.values():
        raise UsageError(f"a split is called '{ALL}'; {_RENAME_ALL}")
    groups = {group: [name for name in scores if group_of.get(name) == group] for group in sorted({*group_of.values()})}
    groups[ALL] = list(scores)
    found = []
    for group, names in groups.items():
        draws = rng.integers(len(names), size=(RESAMPLES, len(names)))
        for figure in scores[names[0]]:
            values = np.array([scores[name][figure] for name in names])
            found.append(
                Mean(group, figure, len(names), float(values.mean()), _interval(values[draws].mean(axis=1), names))
            )
    return found


def _classes_to_measure(pairs: Iterable[tuple[Path, Path]]) -> list[int]:
    """The numbers of the classes in true masks, without the background; tells of others in predicted masks."""
    true, predicted = (
        {int(number) for file in files for number in np.unique(read_numbers(file))} - {0}
        for files in zip(*pairs, strict=True)
    )
    if not true:
        raise UsageError("there is no class in the true masks: all their numbers are 0")
    if others := sorted(predicted - true):
        shown = ", ".join(map(str, others[:_SHOWN])) + (f" and {len(others) - _SHOWN} more" if others[_SHOWN:] else "")
        say(f"classes that no true mask has: {shown}; they count as background, check the numbers")
    return sorted(true)


def _interval(samples: NDArray[np.float64], names: list[str]) -> tuple[float, float] | None:
    if len(names) < 2:
        return None
    low, high = np.quantile(samples, (0.025, 0.975))
    return float(low), float(high)


def _masks(folder: Path) -> dict[str, Path]:
    try:
        listed = list_images(folder, SUFFIXES)
        masks = {plain_name(stem): path for stem, path in paths_by_stem(listed.paths).items()}
    except ImageFileError as error:
        raise UsageError(str(error)) from None
    for note in listed.notes:
        say(f"{folder}: {note}")
    if not masks:
        raise UsageError(f"{folder}: no masks in it (names ending in {', '.join(SUFFIXES)})")
    return masks


def _scores(files: tuple[Path, Path], *, semantic: bool, numbers: list[int]) -> Scores:
    """The figures of a true mask and a predicted one."""
    truth, predicted = map(read_numbers, files)
    if semantic:
        return by_class(truth, predicted, numbers)
    for path, mask in zip(files, (truth, predicted), strict=True):
        try:
            check_instances(mask)
        except MaskError as error:
            raise UsageError(f"{path}: {error} (--semantic measures classes)") from None
    return asdict(score(truth=truth, predicted=predicted))


def _show(found: list[Mean]) -> None:
    figures = list(dict.fromkeys(mean.figure for mean in found))
    table = Table("images", *(figure.replace("_plus", "+") for figure in figures))
    for group in dict.fromkeys(mean.group for mean in found):
        row = [mean for mean in found if mean.group == group]
        table.add_row(f"{group} ({row[0].images})", *map(_cell, row))
    console.print(table)


def _cell(mean: Mean) -> str:
    if mean.interval is None:
        return f"{mean.value:.4f}"
    return f"{mean.value:.4f}\n{mean.interval[0]:.3f} to {mean.interval[1]:.3f}"
