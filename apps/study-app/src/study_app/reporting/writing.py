"""`study-app report`: the page of a study and a JSON file of its results."""

import json
from pathlib import Path

from run_folder import UsageError, refuse_existing
from study_app.outputs import whole_file
from study_app.reporting.page import report_page
from study_app.reporting.study_report import StudyReport, is_report_document, report_document


def report_files(out: Path, *, overwrite: bool) -> tuple[Path, Path]:
    """Returns the paths of the page and of the JSON file beside it, checked.

    Raises:
        UsageError: A file exists and may not be replaced, or the name does not end in .html.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: wanted a name that ends in .html")
    files = (out, out.with_suffix(".json"))
    refuse_existing(files, overwrite=overwrite)
    if files[1].exists() and not is_report_document(files[1]):
        raise UsageError(f"{files[1]} exists, and study-app did not write it; give another --out")
    return files


def write_report(report: StudyReport, images: Path, files: tuple[Path, Path]) -> None:
    """Writes the page and the JSON file.

    Args:
        report: The report.
        images: The folder of the images of all studies.
        files: See `report_files`.
    """
    page, document = report_page(report, images), json.dumps(report_document(report), indent=1, ensure_ascii=False)
    for path, text in zip(files, (page, document + "\n"), strict=True):
        with whole_file(path) as partial:
            partial.write_text(text, "utf-8")
