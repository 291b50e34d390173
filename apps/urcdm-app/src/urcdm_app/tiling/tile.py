"""`urcdm-app tile`: segments the tissue of slides and makes a table of tiles to train on."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from run_folder import RunFolder, UsageError
from run_folder.cli.console import progress_bars, say
from urcdm import TrainingPlan
from urcdm.training.data import TILE_TABLE
from urcdm.training.plan_file import read_plan
from urcdm_app.options.tiling import TileOptions
from urcdm_app.tiling.splitting import check_enough, patient_of, read_fractions, read_patients
from urcdm_app.tiling.tile_report import SET_ASIDE, SUMMARY, counted, one_line, report, save_report
from urcdm_app.tiling.workers import make_executor
from wsi_tiling import (
    SlideResults,
    SlideSetAside,
    TaskExecutor,
    TileField,
    TileSettings,
    TileTable,
    check_names,
    check_no_leak,
    find_slides,
    saved_but_not_given,
    saved_tiles,
    split_by_group,
    tile_slides,
)

OVERVIEW_PX = 1024


def run_tile(options: TileOptions) -> None:
    """Tiles slides.

    Raises:
        UsageError: The patients or the splits do not fit, a slide of the run to resume is not given, no slide can be
            used, or no tissue is found.
        SlideError: There are no slides, or two have one name.
        RunFolderError: A file is in the way, or an earlier run that is to be resumed had other settings.
        LockedError: Another run is at work in the folder.
    """
    out, plan = options.out, read_plan(options.plan)
    settings = _settings(plan, options)
    search = find_slides(options.slides, without=[out])
    for passed_over in search.passed_over:
        say(one_line(f"passed over {passed_over}"))
    slides = list(search.slides)
    check_names(slides)
    patients = read_patients(options.patients, slides) if options.patients is not None else None
    fractions = read_fractions(options.split) if options.split is not None else None
    if fractions is not None:
        check_enough(fractions, {patient_of(path.stem, patients) for path in slides})
    executor = make_executor(options.workers, options.timeout, options.ray)

    run = RunFolder(
        out,
        "urcdm-app tile",
        {"tiles": asdict(settings)},
        resume=options.resume,
        overwrite=options.overwrite,
        inputs=slides,
    )
    with run:
        results = SlideResults(out, overviews=True)
        results.check_free(slides)
        if run.resumed and (missing := saved_but_not_given(out, slides)):
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UsageError(
                f"{missing[0]}{others}, already tiled in {out}, not among the slides given now; give all slides of the "
                "run with --resume, or choose another --out"
            )
        run.claim(TILE_TABLE, SUMMARY, SET_ASIDE, *(_inside(out, path) for path in results.files(slides)))
        set_aside = _tile(slides, settings, out, executor)
        bad = {event.path for event in set_aside}
        table = saved_tiles(out, [path for path in slides if path not in bad])
        _check_levels(plan, table, out)
        if patients is not None:
            names = table.frame["slide"].map(lambda name: patient_of(name, patients))
            table = TileTable(table.frame.assign(patient=names))
        if fractions is not None:
            table = split_by_group(table, fractions, options.seed)
            check_no_leak(table)
        save_report(out, table, plan, slides, set_aside)
        table.save(out / TILE_TABLE)
    report(table, plan)
    say(f"{out / TILE_TABLE} (tiles) and an overview picture for each of {len(slides) - len(set_aside)} slide(s)")
    if set_aside:
        say(f"{len(set_aside)} of {len(slides)} slides were set aside ({counted(set_aside)}): see {out / SET_ASIDE}")


def _tile(slides: list[Path], settings: TileSettings, out: Path, executor: TaskExecutor) -> list[SlideSetAside]:
    """Tiles the slides; returns those that were set aside.

    Raises:
        UsageError: All were.
    """
    set_aside: list[SlideSetAside] = []
    with progress_bars(notes=True) as bars:
        task = bars.add_task("slides", total=len(slides), note="comparing the slides")
        for event in tile_slides(slides, settings, out, executor=executor):
            if isinstance(event, SlideSetAside):
                set_aside.append(event)
                lines = [f"set aside, {event.trouble}: {event.reason}"]
            else:
                lines = [f"{event.path}: {note}" for note in event.notes]
            for line in lines:
                bars.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
            bars.update(task, advance=1, note=f"{len(set_aside)} set aside" if set_aside else "")
    if len(set_aside) == len(slides):
        raise UsageError(_none_left(set_aside))
    return set_aside


def _settings(plan: TrainingPlan, options: TileOptions) -> TileSettings:
    whole_slide: Literal["cover", "crop"] | None = None if options.fields is None else options.fields.value
    first, *others = (level.field_l0 for level in plan.urcdm.levels)
    return TileSettings(
        (
            TileField(first, min_tissue=0.0, whole_slide=whole_slide),  # it shows whole slides, mostly glass
            *(
                TileField(field, options.min_tissue, overlap=options.overlap, half_shifts=options.shifts)
                for field in others
            ),
        ),
        plan.urcdm.tissue,
        unstated_mpp=options.mpp,
        wanted_mpp=plan.urcdm.mpp,
        overview_px=OVERVIEW_PX,
    )


def _inside(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _check_levels(plan: TrainingPlan, table: TileTable, out: Path) -> None:
    for level in plan.urcdm.levels:
        if not (table.frame["field_l0"] == level.field_l0).any():
            raise UsageError(
                f"no tissue found for fields of {level.field_l0:g} px (level '{level.name}'); look at the overview "
                f"pictures in {out}, and check the slides, or lower --min-tissue and start again with --overwrite"
            )


def _none_left(set_aside: list[SlideSetAside]) -> str:
    first = set_aside[0].reason
    if set_aside[0].mpp is not None:
        first += f"; give a --plan with mpp = {set_aside[0].mpp:g}"
    return first if len(set_aside) == 1 else f"none of {len(set_aside)} slides could be used; the first: {first}"
