"""Commands that show results, or prepare what is compared. What takes time to import is imported where it is needed."""

from pathlib import Path
from typing import Annotated

import typer

from eval_app.cli.app import app
from eval_app.cli.options import Overwrite, SkipUnreadable


@app.command()
def report(
    results: Annotated[
        list[Path], typer.Argument(help="JSON files of the other commands, or their folders.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The page; its figures are written beside it as .json.")] = Path(
        "report.html"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Make one page of results: tables, plots, pairs of crops and closest pairs. It stands alone and needs no network.

    Figures that mean different things (another extractor, other crops, another real side) are never in one table.

    Example: **eval-app report ours/ outpainting/ fid.json --out report.html**
    """
    from eval_app.reporting.page import run_report

    run_report(places=results, out=out, overwrite=overwrite)


@app.command()
def export(
    places: Annotated[list[Path], typer.Argument(help="A folder of pictures, or slides and folders of slides.")],
    size: Annotated[int, typer.Option(min=4, help="Side of the pictures, a power of two.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The zip file.")] = Path("data.zip"),
    field: Annotated[
        float | None,
        typer.Option(min=1, help="Side of a tile of a slide, level-0 pixels.", show_default="that of a picture"),
    ] = None,
    min_tissue: Annotated[float, typer.Option(min=0, max=1, help="Least share of tissue in a tile.")] = 0.05,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a data set in the zip form that StyleGAN3 trains on: square PNG files and dataset.json, without labels.

    Of slides, the tiles that hold tissue; of other pictures, the middle square.

    Example: **eval-app export slides/ --field 1024 --size 256 --out data.zip**
    """
    from eval_app.export import run_export

    run_export(
        places=places,
        size_px=size,
        field_l0=field,
        min_tissue=min_tissue,
        out=out,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
    )
