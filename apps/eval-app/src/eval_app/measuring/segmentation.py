"""`eval-app seg`: agreement of predicted masks with true ones."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from eval_app.options import SegOptions
from maskcond import MaskError
from maskcond.mask_folders import (
    MaskPairs,
    ScoreMean,
    mask_classes,
    mean_by_split,
    pair_masks,
    read_splits,
    score_classes,
    score_instances,
)
from run_folder import UsageError, whole_file
from run_folder.cli.console import console, progress_bars, say
from run_folder.outputs import check_ending, own_files

_FORMAT = "eval-app segmentation 1"


def measure_masks(options: SegOptions) -> None:
    """Measures masks.

    Raises:
        UsageError: The output exists.
        TableError: The table of splits cannot be read.
        MaskError: Masks do not pair, cannot be read, or two are of different sizes.
    """
    if options.out is not None:
        check_ending("--out", options.out, ".json")
    with own_files([options.out], overwrite=options.overwrite, inputs=[options.groups]):
        pairs = pair_masks(options.truth, options.predicted)
        for note in pairs.notes:
            say(note)
        split_of = {} if options.groups is None else read_splits(options.groups, list(pairs.files))
        scores = _scores(pairs, semantic=options.semantic)
        means = mean_by_split(scores, split_of, np.random.default_rng(options.seed))
        _show(means)
        if options.out is not None:
            document = {
                "format": _FORMAT,
                "truth": str(options.truth),
                "predicted": str(options.predicted),
                "means": [
                    {"group": m.split, "figure": m.score, "images": m.images, "value": m.value, "interval": m.interval}
                    for m in means
                ],
                "images": [{"image": name, "group": split_of.get(name), **its} for name, its in scores.items()],
            }
            with whole_file(options.out) as partial_file:
                partial_file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            say(f"{options.out} (every image)")


def _scores(pairs: MaskPairs, *, semantic: bool) -> dict[str, dict[str, float]]:
    """The scores of each image."""
    measure: Callable[[Path, Path], dict[str, float]] = score_instances
    if semantic:
        classes, note = mask_classes(pairs.files.values())
        measure = partial(score_classes, classes=classes)
        if note:
            say(note)
    scores = {}
    with progress_bars() as bars:
        for name, (truth, predicted) in bars.track(pairs.files.items(), description="images"):
            try:
                scores[name] = measure(truth, predicted)
            except MaskError as error:
                hint = "" if semantic else " (--semantic measures classes)"
                raise UsageError(f"{name}: {error}{hint}") from None
    return scores


def _show(means: list[ScoreMean]) -> None:
    titles = list(dict.fromkeys(mean.score for mean in means))
    table = Table("images", *(title.replace("_plus", "+") for title in titles))
    for split in dict.fromkeys(mean.split for mean in means):
        row = [mean for mean in means if mean.split == split]
        table.add_row(f"{split} ({row[0].images})", *map(_cell, row))
    console.print(table)


def _cell(mean: ScoreMean) -> str:
    if mean.interval is None:
        return f"{mean.value:.4f}"
    return f"{mean.value:.4f}\n{mean.interval[0]:.3f} to {mean.interval[1]:.3f}"
