"""`eval-app fid`: figures of whole images."""

import hashlib
from pathlib import Path

import numpy as np

from eval_app.measuring.extractors import ExtractorChoice
from eval_app.measuring.sides import check_enough, whole_images
from eval_app.measuring.whole import measured_features
from eval_app.outputs import check_ending, own_files
from eval_app.reporting.results import MeasuredSide, Result, show_figures, side_name
from pfid import Features, FeatureStatistics, Images, feature_figures, fid, metrics_left_out, note_compression
from run_folder import UsageError
from run_folder.cli.console import progress_bars, say
from run_folder.cli.devices import resolve_device


def run_fid(
    *,
    real: Path,
    fake: Path,
    out: Path | None,
    name: str | None,
    save_statistics: Path | None,
    choice: ExtractorChoice,
    device: str,
    batch: int,
    seed: int,
    allow_few: bool,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Measures whole images; see `eval_app.cli.measuring.fid` for the arguments.

    Raises:
        UsageError: A file is in the way, or there are too few images.
        LockedError: Another run writes one of the files.
        PfidError: Images, statistics or the extractor cannot be used.
    """
    if out is not None:
        check_ending("--out", out, ".json")
    if save_statistics is not None:
        check_ending("--save-statistics", save_statistics, ".npz")
    with own_files(filter(None, (out, save_statistics)), overwrite=overwrite, inputs=(real, fake)):
        left_side, right_side = (_opened(place, skip_unreadable) for place in (real, fake))
        if isinstance(left_side, Images) and isinstance(right_side, Images):
            left_side, right_side = note_compression(left_side, right_side)
        sides = [left_side, right_side]
        if save_statistics is not None and isinstance(sides[0], FeatureStatistics):
            raise UsageError(f"--save-statistics: {real} are statistics already")
        where = resolve_device(device)
        extractor = choice.load(where)
        for place, side in zip((real, fake), sides, strict=True):
            if isinstance(side, Images):
                check_enough(f"images in {place}", len(side), extractor.dimensions, allow_few=allow_few)
            elif side.dimensions != extractor.dimensions:
                raise UsageError(
                    f"{place} has statistics of {side.dimensions:,} features, {extractor.name} has "
                    f"{extractor.dimensions:,}; measure them anew"
                )

        counts = [len(side) for side in sides if isinstance(side, Images)]
        if len(counts) == len(sides) and (left_out := metrics_left_out(min(counts))) is not None:
            say(left_out)
        measured: list[Features | FeatureStatistics] = []
        with progress_bars() as bars:
            for what, side in zip(("real", "generated"), sides, strict=True):
                if isinstance(side, Images):
                    measured.append(measured_features(side, extractor, batch=batch, bars=bars, what=what))
                else:
                    measured.append(side)
        left, right = measured
        calculator = where if where.type == "cuda" else None
        if isinstance(left, Features) and isinstance(right, Features):
            figures = feature_figures(
                real=left,
                fake=right,
                generator=np.random.default_rng(seed),
                device=calculator,
                allow_few=allow_few,
            )
        else:
            say("one side is statistics: FID only")
            figures = (fid(real=left, fake=right, extractor=extractor, device=calculator, allow_few=allow_few),)
        show_figures(figures)
        if save_statistics is not None and isinstance(left, Features):
            left.statistics().save(save_statistics)
            say(f"{save_statistics} (statistics of the real side)")
        if out is not None:
            Result("fid", side_name(name, [fake]), _told(real, sides[0]), _told(fake, sides[1]), figures).save(out)
            say(f"{out} (for eval-app report)")


def _opened(place: Path, skip_unreadable: bool) -> Images | FeatureStatistics:
    if place.suffix.lower() == ".npz":
        return FeatureStatistics.load(place)
    return whole_images(place, skip_unreadable=skip_unreadable)


def _told(place: Path, side: Images | FeatureStatistics) -> MeasuredSide:
    if isinstance(side, Images):
        return MeasuredSide.of([place], side)
    return MeasuredSide((str(place),), side.count, hashlib.sha256(side.mean.tobytes()).hexdigest())
