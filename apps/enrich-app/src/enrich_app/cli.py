"""The command line; slow imports are left to the commands that need them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from run_folder.cli.running import run_cli

app = typer.Typer(
    name="enrich-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Improve segmentation with synthetic pairs of images and masks.

**run** runs all steps of a configuration, from the real images to the table; **report** makes a page of the results.
**plan** prints a configuration to start from.
""",
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]


@app.command()
def plan(
    name: Annotated[
        str,
        typer.Argument(
            help="'kumar-small': a quick test; 'kumar-few': few annotated images; 'kumar': the study's sizes."
        ),
    ] = "kumar-small",
) -> None:
    """Print a configuration to start from.

    Example: **enrich-app plan kumar-small > kumar.toml**
    """
    from enrich_app.configurations import print_configuration

    print_configuration(name)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="TOML file; 'plan' prints one.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="runs/ and the name of CONFIG")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the state of all steps, with time and disk space; run nothing.")
    ] = False,
    device: Annotated[str, typer.Option(help="'auto', 'cpu' or 'cuda'; auto uses a GPU if there is one.")] = "auto",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Repeat steps whose settings or inputs have changed, and delete their old files.",
        ),
    ] = False,
) -> None:
    """Make synthetic pairs, train segmentation models with and without them, and compare the models.

    The same command continues an interrupted run. Steps whose settings and inputs are the same are not repeated.

    Examples: **enrich-app run kumar.toml --dry-run** · **enrich-app run kumar.toml**
    """
    from enrich_app.run import run_enrichment, show_plan

    folder = out if out is not None else Path("runs") / config.stem
    if dry_run:
        show_plan(config_path=config, folder=folder, device=device)
    else:
        run_enrichment(config_path=config, folder=folder, device=device, overwrite=overwrite)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="File of the page.", show_default="report.html in the run")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make one page of a run, with table, plot and pictures; a single file that works offline.

    Example: **enrich-app report runs/kumar**
    """
    from enrich_app.report import run_report

    run_report(folder=folder, out=out if out is not None else folder / "report.html", overwrite=overwrite)


_PACKAGES = ("cdm_core", "enrich_app", "image_files", "maskcond")


def main() -> None:
    """Runs the command line; a user's error becomes one line, with exit code 1."""
    run_cli(app, "enrich-app", _PACKAGES, kept=lambda: "; the same command goes on" if sys.argv[1:2] == ["run"] else "")
