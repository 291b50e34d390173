"""`eval-app fid`: metrics of whole images."""

from pathlib import Path

from eval_app.console import show_metrics
from eval_app.measuring.extractors import features_of, load_extractor
from eval_app.measuring.sides import whole_images
from eval_app.options import FidOptions
from eval_app.outputs import side_name, versions
from pfid import (
    Features,
    FeatureStatistics,
    Images,
    MeasuredSide,
    Result,
    check_enough,
    default_metrics,
    evaluate,
    fid,
    note_compression,
)
from run_folder import UsageError
from run_folder.cli.console import say
from run_folder.cli.devices import resolve_device
from run_folder.outputs import check_ending, own_files


def measure_images(options: FidOptions) -> None:
    """Measures whole images.

    Raises:
        UsageError: An output exists.
        LockedError: Another run writes an output.
        PfidError: Images, statistics or the extractor cannot be used.
    """
    real, fake, out, kept = options.real, options.fake, options.out, options.save_statistics
    if out is not None:
        check_ending("--out", out, ".json")
    if kept is not None:
        check_ending("--save-statistics", kept, ".npz")
    with own_files((out, kept), overwrite=options.overwrite, inputs=(real, fake)):
        sides = [_opened(place, options.skip_unreadable) for place in (real, fake)]
        if isinstance(sides[0], Images) and isinstance(sides[1], Images):
            sides = list(note_compression(sides[0], sides[1]))
        if kept is not None and isinstance(sides[0], FeatureStatistics):
            raise UsageError(f"--save-statistics: {real} are statistics already")
        device = resolve_device(options.device)
        extractor = load_extractor(options, device)
        for place, side in zip((real, fake), sides, strict=True):
            if isinstance(side, Images):
                check_enough(f"images in {place}", len(side), extractor.dimensions, allow_few=options.allow_few)
        features = [
            side if isinstance(side, FeatureStatistics) else features_of(side, extractor, options, title)
            for side, title in zip(sides, ("real", "generated"), strict=True)
        ]
        left, right = features
        if isinstance(left, Features) and isinstance(right, Features):
            metrics = default_metrics(allow_few=options.allow_few)
            values = evaluate(
                real=left, fake=right, extractor=extractor, metrics=metrics, seed=options.seed, device=device
            )
        else:
            say("one side is statistics: FID only")
            values = (fid(real=left, fake=right, extractor=extractor, device=device, allow_few=options.allow_few),)
        show_metrics(values)
        if kept is not None and isinstance(left, Features):
            left.statistics().save(kept)
            say(f"{kept} (statistics of the real side)")
        if out is not None:
            left_side, right_side = MeasuredSide.of([real], sides[0]), MeasuredSide.of([fake], sides[1])
            name = side_name(options.name, [fake])
            Result("fid", name, left_side, right_side, values, versions=versions()).save(out)
            say(f"{out} (for eval-app report)")


def _opened(place: Path, skip_unreadable: bool) -> Images | FeatureStatistics:
    if place.suffix.lower() == ".npz":
        return FeatureStatistics.load(place)
    return whole_images(place, skip_unreadable=skip_unreadable)
