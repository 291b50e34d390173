"""`urcdm-app tile`: where the tissue of slides is, as a table of tiles to train on."""

from pathlib import Path

from PIL import Image
from rich.table import Table

from urcdm import TrainingPlan
from urcdm_app.console import console, progress_bars, refuse_existing, say
from urcdm_app.errors import UsageError
from urcdm_app.plan import read_plan
from wsi_tiling import Slide, TileTable, find_tiles, open_slide, overview

TABLE = "tiles.parquet"
OVERVIEW_PX = 1024
MPP_TOLERANCE = 0.1


def run_tile(
    *, slide_paths: list[Path], out: Path, plan_path: Path, min_tissue: float, mpp: float | None, overwrite: bool
) -> None:
    """Finds tiles; see `urcdm_app.cli.tile` for the arguments.

    Raises:
        UsageError: A file is in the way, two slides have one name, a slide is at another scale, or no tissue is found.
        SlideError: A slide cannot be read, or its scale is not known.
    """
    plan = read_plan(plan_path)
    names = [path.stem for path in slide_paths]
    if len(set(names)) < len(names):
        raise UsageError("two slides have the same name; rename one, since names tell slides apart in the table")
    pictures = [out / f"{name}.png" for name in names]
    refuse_existing([out / TABLE, *pictures], overwrite=overwrite)

    tables: list[TileTable] = []
    overviews: list[Image.Image] = []
    with progress_bars() as bars:
        task = bars.add_task("slides", total=len(slide_paths), note="")
        for path in slide_paths:
            with open_slide(path.resolve(), mpp=mpp) as slide:
                table = _tiles_of(slide, plan, min_tissue)
                tables.append(table)
                overviews.append(Image.fromarray(overview(slide, _finest(table, plan), plan.urcdm.tissue, OVERVIEW_PX)))
            bars.advance(task)
    table = TileTable.concat(tables)
    for level in plan.urcdm.levels:
        if not (table.frame["field_l0"] == level.field_l0).any():
            raise UsageError(
                f"no tissue found for fields of {level.field_l0:g} px (level '{level.name}'); "
                "check the slides, or lower --min-tissue"
            )
    out.mkdir(parents=True, exist_ok=True)
    for picture, image in zip(pictures, overviews, strict=True):
        image.save(picture)
    table.save(out / TABLE)
    _report(table, plan)
    say(f"{out / TABLE} (tiles) and an overview picture for each of {len(slide_paths)} slide(s)")


def _tiles_of(slide: Slide, plan: TrainingPlan, min_tissue: float) -> TileTable:
    mpp, wanted = slide.require_mpp(), plan.urcdm.mpp
    if abs(mpp / wanted - 1) > MPP_TOLERANCE:
        raise UsageError(
            f"{slide.path}: {mpp:g} um a pixel, the plan is for {wanted:g}; give a --plan with mpp = {mpp:g}"
        )
    tables = []
    for number, level in enumerate(plan.urcdm.levels):
        limit = min_tissue if number else 0.0  # the first level shows whole slides, mostly glass
        tables.append(find_tiles([slide], field_l0=level.field_l0, rule=plan.urcdm.tissue, min_tissue=limit))
    return TileTable.concat(tables)


def _finest(table: TileTable, plan: TrainingPlan) -> TileTable:
    return TileTable(table.frame[table.frame["field_l0"] == plan.urcdm.levels[-1].field_l0])


def _report(table: TileTable, plan: TrainingPlan) -> None:
    report = Table("level", "field, level-0 px", "tiles", "mean tissue")
    for level in plan.urcdm.levels:
        rows = table.frame[table.frame["field_l0"] == level.field_l0]
        report.add_row(level.name, f"{level.field_l0:g}", str(len(rows)), f"{rows['tissue'].mean():.0%}")
    console.print(report)
