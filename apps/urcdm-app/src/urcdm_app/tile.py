"""`urcdm-app tile`: where the tissue of slides is, as a table of tiles to train on."""

from pathlib import Path
from typing import Literal

from urcdm import TrainingPlan
from urcdm_app.console import progress_bars, refuse_existing, remove, say
from urcdm_app.errors import UsageError
from urcdm_app.plan import read_plan
from urcdm_app.splitting import check_enough, patient_of, read_fractions, read_patients
from urcdm_app.tile_report import SET_ASIDE, counted, report, save_report
from urcdm_app.workers import make_executor
from wsi_tiling import SlideSetAside, TileField, TileSettings, TileTable, saved_tiles, slide_files, split_by_group
from wsi_tiling.many_slides import check_names, overview_path, tile_slides

TABLE = "tiles.parquet"
OVERVIEW_PX = 1024


def run_tile(
    *,
    places: list[str],
    out: Path,
    plan_path: Path,
    min_tissue: float,
    overlap: float,
    shifts: bool,
    fields: str | None,
    mpp: float | None,
    patients_path: Path | None,
    split: str | None,
    seed: int,
    workers: int | None,
    timeout_s: float | None,
    ray: str | None,
    overwrite: bool,
    resume: bool,
) -> None:
    """Finds tiles; see `urcdm_app.cli.training.tile` for the arguments.

    Raises:
        UsageError: A file is in the way, the patients or the splits do not fit, no slide can be used, or no tissue is
            found.
        SlideError: There are no slides, two have one name, or an earlier run that is to go on had other settings.
    """
    plan = read_plan(plan_path)
    whole_slide: Literal["cover", "crop"] | None = None if fields is None else "cover" if fields == "cover" else "crop"
    settings = _settings(plan, min_tissue=min_tissue, overlap=overlap, shifts=shifts, fields=whole_slide, mpp=mpp)
    slides = slide_files(places, without=[out])
    check_names(slides)
    patients = read_patients(patients_path, slides) if patients_path is not None else None
    fractions = read_fractions(split) if split is not None else None
    if fractions is not None:
        check_enough(fractions, {patient_of(path.stem, patients) for path in slides})
    executor = make_executor(workers, timeout_s, ray)
    _refuse_runs(out, slides, overwrite=overwrite, resume=resume)

    new = not out.exists()
    if not resume:
        remove(out / "slides")
    set_aside: list[SlideSetAside] = []
    with progress_bars() as bars:
        task = bars.add_task("slides", total=len(slides), note="")
        for event in tile_slides(slides, settings, out, executor=executor):
            if isinstance(event, SlideSetAside):
                set_aside.append(event)
                text = f"set aside, {event.trouble}: {event.reason}"
                bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            bars.update(task, advance=1, note=f"{len(set_aside)} set aside" if set_aside else "")
    if len(set_aside) == len(slides):
        raise UsageError(_none_left(set_aside))
    bad = {event.path for event in set_aside}
    table = saved_tiles(out, [path for path in slides if path not in bad])
    for level in plan.urcdm.levels:
        if not (table.frame["field_l0"] == level.field_l0).any():
            remove(out if new else out / "slides")
            raise UsageError(
                f"no tissue found for fields of {level.field_l0:g} px (level '{level.name}'); "
                "check the slides, or lower --min-tissue"
            )
    if patients is not None:
        names = table.frame["slide"].map(lambda name: patient_of(name, patients))
        table = TileTable(table.frame.assign(patient=names))
    if fractions is not None:
        table = split_by_group(table, fractions, seed)
    save_report(out, table, plan, slides, set_aside)
    table.save(out / TABLE)
    report(table, plan)
    say(f"{out / TABLE} (tiles) and an overview picture for each of {len(slides) - len(set_aside)} slide(s)")
    if set_aside:
        say(f"{len(set_aside)} of {len(slides)} slides were set aside ({counted(set_aside)}): see {out / SET_ASIDE}")


def _settings(
    plan: TrainingPlan,
    *,
    min_tissue: float,
    overlap: float,
    shifts: bool,
    fields: Literal["cover", "crop"] | None,
    mpp: float | None,
) -> TileSettings:
    first, *others = (level.field_l0 for level in plan.urcdm.levels)
    return TileSettings(
        (
            TileField(first, min_tissue=0.0, whole_slide=fields),  # it shows whole slides, mostly glass
            *(TileField(field, min_tissue, overlap=overlap, half_shifts=shifts) for field in others),
        ),
        plan.urcdm.tissue,
        mpp=mpp,
        wanted_mpp=plan.urcdm.mpp,
        overview_px=OVERVIEW_PX,
    )


def _refuse_runs(out: Path, slides: list[Path], *, overwrite: bool, resume: bool) -> None:
    if overwrite or resume:
        return
    if (out / "slides").exists() and not (out / TABLE).exists():
        raise UsageError(f"{out} holds an unfinished run; go on with --resume, or drop it with --overwrite")
    refuse_existing([out / TABLE, *(overview_path(out, path) for path in slides)], overwrite=False)


def _none_left(set_aside: list[SlideSetAside]) -> str:
    first = set_aside[0].reason
    if set_aside[0].mpp is not None:
        first += f"; give a --plan with mpp = {set_aside[0].mpp:g}"
    return first if len(set_aside) == 1 else f"none of {len(set_aside)} slides could be used; the first: {first}"
