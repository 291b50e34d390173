"""`eval-app pfid`: patch-FID of slides and images of any size."""

from eval_app.console import follow, show_metrics
from eval_app.measuring.extractors import load_extractor
from eval_app.measuring.sides import crop_sides
from eval_app.options import PfidOptions
from eval_app.outputs import RESULT_FILES, save_result, side_name, versions
from pfid import (
    CropFeatures,
    CropPlan,
    Images,
    MeasuredSide,
    Result,
    WhiteRule,
    check_enough,
    crop_pairs_picture,
    measure_crops,
    patch_metrics,
    plan_crops,
)
from run_folder import RunFolder, UsageError
from run_folder.cli.console import say
from run_folder.cli.devices import resolve_device
from run_folder.outputs import refuse_inside

_TITLES = {"fake crops": "generated crops", "resamples": "interval"}


def measure_patches(options: PfidOptions) -> None:
    """Measures by crops.

    Raises:
        UsageError: Options contradict each other, the folder lies in an input, or the run to resume has other crops.
        LockedError: Another run works in the folder.
        RunFolderError: The folder holds a run, or files that no run recorded under the names of its own.
        PfidError: Images, the plan or the extractor cannot be used.
        SlideError: A slide cannot be used.
    """
    real, fake, out = options.real, options.fake, options.out
    if options.plan is not None and options.plans_crops:
        raise UsageError("--plan has the crops; leave out --protocol, --crops, --patch and the other options of a plan")
    refuse_inside(out, [*real, *fake])
    inputs = [*real, *fake, *filter(None, [options.plan])]
    with RunFolder(out, "eval-app pfid", {}, resume=options.resume, overwrite=options.overwrite, inputs=inputs) as run:
        sides = crop_sides(real, fake, skip_unreadable=options.skip_unreadable)
        plan = _planned(sides, options) if options.plan is None else CropPlan.load(options.plan)
        plan.check(real=sides[0], fake=sides[1])
        begun = CropFeatures.plan_in(out) if run.resumed else None
        if begun is not None and begun.sha256 != plan.sha256:
            raise UsageError(f"--resume: {out} was started with other images or crops; give another --out")
        device = resolve_device(options.device)
        extractor = load_extractor(options, device)
        check_enough("crops a side", len(plan), extractor.dimensions, allow_few=options.allow_few)
        run.claim(*CropFeatures.FILES, *RESULT_FILES["pfid"])
        features = follow(
            measure_crops(
                real=sides[0],
                fake=sides[1],
                plan=plan,
                extractor=extractor,
                folder=out,
                batch_size=options.batch,
                workers=options.workers,
            ),
            _TITLES,
        )
        work = patch_metrics(features, resamples=options.resamples, device=device, allow_few=options.allow_few)
        measured = follow(work, _TITLES)
        metrics = tuple(filter(None, (measured.metric, measured.extrapolated)))
        picture = crop_pairs_picture(features, real=sides[0], fake=sides[1])
        result = Result(
            "pfid",
            side_name(options.name, fake),
            MeasuredSide.of(real, sides[0]),
            MeasuredSide.of(fake, sides[1]),
            metrics,
            measured.by_scale,
            caption="Crops of the plan: real above, generated below at the same scale; the finest on the left.",
            versions=versions(),
        )
        files = save_result(out, result, picture)
    show_metrics(metrics)
    for scale in measured.by_scale:
        low, high = scale.reduction
        say(f"{scale.metric.value:10.5g}  at 1/{low:.3g} to 1/{high:.3g} of the real images' resolution")
    say(f"{files[0]}, {files[1]} (pairs of crops), {out / CropFeatures.FILES[0]} (the crop plan)")


def _planned(sides: tuple[Images, Images], options: PfidOptions) -> CropPlan:
    return plan_crops(
        real=sides[0],
        fake=sides[1],
        protocol=options.protocol.value,
        count=options.crops,
        patch_px=options.patch,
        size_min=options.size_min,
        size_max=options.size_max,
        white=WhiteRule() if options.without_white else None,
        seed=options.seed,
    )
