"""`eval-app pfid`: patch-FID of slides and images of any size."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import PIL.Image

from eval_app.measuring.contact_sheet import contact_sheet
from eval_app.measuring.extractors import ExtractorChoice
from eval_app.measuring.sides import check_enough, crop_sides
from eval_app.outputs import refuse_inside
from eval_app.reporting.results import FILE_NAMES, MeasuredSide, Result, show_figures, side_name
from pfid import (
    CropFeatures,
    CropPlan,
    Extractor,
    Images,
    PatchFid,
    PlanError,
    WhiteRule,
    measure_crops,
    patch_figures,
    plan_crops,
)
from run_folder import RunFolder, UsageError, whole_file
from run_folder.cli.console import progress_bars, say
from run_folder.cli.devices import resolve_device

if TYPE_CHECKING:
    import torch

PLAN, FEATURES, PICTURE = "plan.npz", "features.json", "pairs.png"
OWN_FILES = (*CropFeatures.FILES, FILE_NAMES["pfid"], PICTURE)


@dataclass(frozen=True)
class CropSettings:
    """Which crops to plan; see `pfid.plan_crops`."""

    protocol: Literal["any-resolution", "paired"] = "any-resolution"
    count: int = 50_000
    patch_px: int = 256
    size_min: int | None = None
    size_max: int = 0
    without_white: bool = False
    seed: int = 0


def run_pfid(
    *,
    real: list[Path],
    fake: list[Path],
    out: Path,
    name: str | None,
    plan_file: Path | None,
    crops: CropSettings,
    resamples: int,
    choice: ExtractorChoice,
    device: str,
    batch: int,
    workers: int,
    allow_few: bool,
    skip_unreadable: bool,
    overwrite: bool,
    resume: bool,
) -> None:
    """Measures by crops; see `eval_app.cli.measuring.pfid` for the arguments.

    Raises:
        UsageError: Options contradict each other, the folder lies in an input, or the run to resume has other crops.
        LockedError: Another run works in the folder.
        RunFolderError: The folder holds a run, or files that no run recorded under the names of its own.
        PfidError: Images, the plan or the extractor cannot be used.
        SlideError: A slide cannot be used.
    """
    if plan_file is not None and crops != CropSettings():
        raise UsageError("--plan tells the crops: leave out --protocol, --crops, --patch and what else draws them")
    refuse_inside(out, [*real, *fake])
    inputs = [*real, *fake, *([] if plan_file is None else [plan_file])]
    with RunFolder(out, "eval-app pfid", {}, resume=resume, overwrite=overwrite, inputs=inputs) as run:
        sides = crop_sides(real, fake, skip_unreadable=skip_unreadable)
        plan = _planned(sides, crops) if plan_file is None else CropPlan.load(plan_file)
        plan.real.check(sides[0], "real")
        plan.fake.check(sides[1], "fake")
        if run.resumed and (out / PLAN).exists() and CropPlan.load(out / PLAN).sha256 != plan.sha256:
            raise UsageError(f"--resume: {out} was started with other images or crops; give another --out")
        where = resolve_device(device)
        extractor = choice.load(where)
        check_enough("crops a side", len(plan), extractor.dimensions, allow_few=allow_few)
        run.claim(PLAN, *OWN_FILES)
        plan.save(out / PLAN)
        features = _measured(sides, plan, extractor, out, batch, workers)
        found = _figures(features, resamples, where if where.type == "cuda" else None, allow_few)
        with whole_file(out / PICTURE) as partial:
            PIL.Image.fromarray(contact_sheet(features, *sides)).save(partial, "png")
        figures = found.figure, *(() if found.extrapolated is None else (found.extrapolated,))
        result = Result(
            "pfid",
            side_name(name, fake),
            MeasuredSide.of(real, sides[0]),
            MeasuredSide.of(fake, sides[1]),
            figures,
            found.by_scale,
            picture=PICTURE,
            caption="Crops of the plan: real above, generated below at the same scale; the finest on the left.",
        )
        result.save(out / FILE_NAMES["pfid"])
    show_figures(figures)
    for group in found.by_scale:
        low, high = group.reduction
        say(f"{group.figure.value:10.5g}  at 1/{low:.3g} to 1/{high:.3g} of the real images' resolution")
    say(f"{out / FILE_NAMES['pfid']}, {out / PICTURE} (pairs of crops), {out / PLAN} (which crops they are)")


def _planned(sides: tuple[Images, Images], crops: CropSettings) -> CropPlan:
    return plan_crops(
        real=sides[0],
        fake=sides[1],
        protocol=crops.protocol,
        count=crops.count,
        patch_px=crops.patch_px,
        size_min=crops.size_min,
        size_max=crops.size_max,
        white=WhiteRule() if crops.without_white else None,
        seed=crops.seed,
    )


def _measured(
    sides: tuple[Images, Images], plan: CropPlan, extractor: Extractor, out: Path, batch: int, workers: int
) -> CropFeatures:
    """Features of all crops: those of an earlier run, where it came so far."""
    if (out / FEATURES).exists():
        kept = CropFeatures.load(out)
        kept.check_same(real=sides[0], fake=sides[1], extractor=extractor)
        say(f"{out} has the features of all crops already")
        return kept
    titles = {"real crops": "real crops", "fake crops": "generated crops"}
    with progress_bars() as bars:
        tasks = {work: bars.add_task(title, total=len(plan), start=False) for work, title in titles.items()}
        bars.start_task(tasks["real crops"])
        for event in measure_crops(
            real=sides[0],
            fake=sides[1],
            plan=plan,
            extractor=extractor,
            folder=out,
            batch_size=batch,
            workers=workers,
        ):
            if isinstance(event, CropFeatures):
                return event
            bars.update(tasks[event.work], completed=event.done)
            if event.work == "real crops" and event.done == event.total:
                bars.start_task(tasks["fake crops"])
    raise PlanError("no crops were measured")


def _figures(features: CropFeatures, resamples: int, device: "torch.device | None", allow_few: bool) -> PatchFid:
    with progress_bars() as bars:
        task = bars.add_task("interval", total=resamples, visible=resamples > 0)
        for event in patch_figures(features, resamples=resamples, device=device, allow_few=allow_few):
            if isinstance(event, PatchFid):
                return event
            bars.update(task, completed=event.done)
    raise PlanError("no figure was worked out")
