"""`eval-app report`: one page of results that stands alone, and its values as JSON."""

import json
from pathlib import Path
from typing import Any

import PIL.Image

from eval_app.options import ReportOptions
from pfid import Result, ResultTable, comparable_tables
from pfid.pictures.plots import plot_magnifications, plot_values
from pfid.results.result import result_file
from run_folder import UsageError, whole_file
from run_folder.cli.console import say
from run_folder.cli.pages import jpeg_uri, render_page
from run_folder.outputs import check_ending, own_files

_TITLES = {
    "fid": "Whole images",
    "pfid": "Crops",
    "memorise": "Copies of training images",
    "two-sample": "Real or generated, by a classifier",
}


def write_report(options: ReportOptions) -> None:
    """Writes the page.

    Raises:
        UsageError: An output exists, or a picture is missing.
        MetricError: A result is missing or damaged.
    """
    out = options.out
    check_ending("--out", out, ".html", ".htm")
    values_file = out.with_suffix(".json")
    if options.overwrite and values_file.exists() and not _is_own(values_file):
        raise UsageError(f"{values_file} exists, and eval-app did not write it; give another --out")
    with own_files([out, values_file], overwrite=options.overwrite):
        files = [result_file(place) for place in options.results]
        if values_file.resolve() in [file.resolve() for file in files]:
            raise UsageError(f"{values_file} is one of the results; give another --out")
        results = [Result.load(file) for file in files]
        pictures = [_picture(file, result) for file, result in zip(files, results, strict=True)]
        tables = comparable_tables(results)
        document = {
            "tables": [
                {"kind": table.kind, "apart": table.apart, "results": [result.to_dict() for result in table.results]}
                for table in tables
            ]
        }
        values = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for path, text in ((values_file, values), (out, _page(tables, results, pictures))):
            with whole_file(path) as partial:
                partial.write_text(text, encoding="utf-8")
        say(f"{out}, {values_file} (its values)")


def _is_own(path: Path) -> bool:
    """Whether a file has the values of a report, and may be replaced."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))) == ["tables"]
    except (OSError, ValueError, TypeError):
        return False


def _page(tables: list[ResultTable], results: list[Result], pictures: list[str | None]) -> str:
    shown: list[dict[str, Any]] = [
        {
            "table": table,
            "title": _TITLES[table.kind],
            "first": table.results[0].metrics[0],
            "values": plot_values([(result.name, result.metrics[0]) for result in table.results]),
            "magnifications": plot_magnifications([(result.name, result.by_scale) for result in table.results]),
        }
        for table in tables
    ]
    pictured = [(result, picture) for result, picture in zip(results, pictures, strict=True) if picture]
    return render_page("eval_app", "report.html", {"shown": shown, "pictured": pictured, "results": results})


def _picture(file: Path, result: Result) -> str | None:
    """The picture of a result as a data URI."""
    if result.picture is None:
        return None
    path = file.parent / Path(result.picture).name
    try:
        with PIL.Image.open(path) as picture:
            return jpeg_uri(picture)
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: it belongs to {file}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read as a picture: {error}") from None
