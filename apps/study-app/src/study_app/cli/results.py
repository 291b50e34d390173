"""Commands that give results. What takes time to import is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from run_folder.cli.console import say
from study_app.cli.app import app
from study_app.cli.options import Folder, Overwrite, StudyName
from study_app.settings import load_settings


@app.command()
def export(
    folder: Folder,
    study: StudyName,
    out: Annotated[Path, typer.Option(help="File: .csv for study-stats, .json for all there is.", show_default=False)],
    overwrite: Overwrite = False,
) -> None:
    """Write the answers of a study to a file, at any time.

    Example: **study-app export reading tiles --out tiles.csv**
    """
    from study_app.exporting import export_study
    from study_app.installing import opened
    from study_app.studies import study_named

    with opened(load_settings(folder)) as database, database.reading() as session:
        count = export_study(session, study_named(session, study), out, overwrite=overwrite)
    say(f"{out}: {count:,} answers")


@app.command()
def report(
    folder: Folder,
    study: StudyName,
    out: Annotated[
        Path | None,
        typer.Option(help="The page, .html; its figures go beside it, as .json.", show_default="text, to the terminal"),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Name the readers, instead of 'reader 1' and so on.")] = False,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.499, help="Largest |p - 0.5| that counts as guessing.", show_default="the study's"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Report the results of a study, at any time: realism, equivalence, agreement, drift, times, recognised images.

    With --out, as a page in a single file, and as JSON.

    Example: **study-app report reading tiles --out tiles.html**
    """
    from datetime import UTC, datetime

    from study_app.installing import opened
    from study_app.reporting.study_report import study_record, study_report
    from study_app.reporting.writing import report_files, write_report
    from study_app.studies import study_named

    files = report_files(out, overwrite=overwrite) if out else None
    settings = load_settings(folder)
    with opened(settings) as database, database.reading() as session:
        record = study_record(session, study_named(session, study), named=names)
    result = study_report(record, margin=margin, seed=seed, now=datetime.now(UTC))
    if files:
        write_report(result, settings.images, files)
        say(f"{files[0]}, {files[1]} (its figures)")
        return
    say(f"{record.facts.title}: {record.answers}; the study is {record.facts.state}")
    for version, finding in result.findings:
        say(f"\n{version or 'all'}: {finding.title}\n{finding.text}")
