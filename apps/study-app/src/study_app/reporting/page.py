"""The report of a study as a page in a single file."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from run_folder.cli.pages import render_page
from study_app.reporting.figures_text import FILTERS
from study_app.reporting.findings import Finding
from study_app.reporting.pictures import thumbnail_source
from study_app.reporting.plots import learning_plot, readers_plot, times_plot
from study_app.reporting.study_report import StudyReport

SHOWN = 12
"""Largest number of images in the gallery of the most recognised ones."""


def report_page(report: StudyReport, images: Path) -> str:
    """Makes the page of a report, with plots and pictures embedded.

    Args:
        report: The report.
        images: The folder of the images of all studies.
    """
    return render_page(
        "study_app",
        "report.html",
        {
            "report": report,
            "facts": report.record.facts,
            "version_of": version,
            "readers_plot": lambda finding: readers_plot(finding.result),
            "times_plot": lambda finding: times_plot(finding.result),
            "learning": learning_plot(report.record.answers),
            "gallery": lambda finding: gallery(
                finding, report.record.files, lambda file: thumbnail_source(images / file)
            ),
        },
        folder="web/templates",
        filters=FILTERS,
    )


def gallery(finding: Finding, files: dict[str, str], source: Callable[[str], str]) -> list[dict[str, Any]]:
    """The most recognised images, each recognised at least once, for the template.

    Args:
        finding: The finding of `recognised_images`.
        files: File of each image.
        source: Function from a file to the source of an image in a page.
    """
    if finding.missing:
        return []
    rows = finding.result.frame.query("recognised > 0").head(SHOWN).to_dict("index")
    return [{"name": name, "source": source(files[str(name)]), **row} for name, row in rows.items()]
