"""Commands that tell what came of a study. What takes time to import is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from study_app.cli.app import app
from study_app.cli.options import Folder, Overwrite, StudyName
from study_app.console import say
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
    margin: Annotated[
        float,
        typer.Option(
            min=0.001, max=0.499, help="Largest |p - 0.5| that counts as guessing; to be settled before the study."
        ),
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Resamples are drawn from it.")] = 0,
) -> None:
    """Tell the results of a study, version by version: realism, equivalence, agreement, times.

    Example: **study-app report reading tiles**
    """
    import numpy as np

    from study_app.installing import opened
    from study_app.reporting import report_sections
    from study_app.studies import answers_of, study_named

    with opened(load_settings(folder)) as database, database.reading() as session:
        found = study_named(session, study)
        answers = answers_of(session, found)
    say(f"{found.title}: {answers}" + ("" if found.state == "closed" else "; the study is not closed yet"))
    for section in report_sections(answers, margin=margin, rng=np.random.default_rng(seed)):
        say(f"\n{section.version}: {section.title}\n{section.text}")
