"""`eval-app report`: one page of results that stands alone, and its figures as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from eval_app.outputs import check_ending, own_files
from eval_app.reporting.plots import plot_magnifications, plot_values
from eval_app.reporting.results import Result, result_file
from pfid import Figure, FigureError
from run_folder import UsageError, whole_file
from run_folder.cli.console import say
from run_folder.cli.pages import jpeg_uri, render_page

JPEG_QUALITY = 90
_TITLES = {
    "fid": "Whole images",
    "pfid": "Crops",
    "memorise": "Copies of training images",
    "two-sample": "Real or generated, by a classifier",
}


@dataclass(frozen=True)
class Table:
    """Results whose figures mean the same and may be compared.

    Attributes:
        kind: The command that they are of.
        results: The results, in the order given.
        apart: Why they are not in the first table of their kind; None for that one.
    """

    kind: str
    results: list[Result]
    apart: str | None

    @property
    def columns(self) -> list[str]:
        """Names of the figures."""
        return list(dict.fromkeys(figure.name for result in self.results for figure in result.figures))

    def figure(self, result: Result, name: str) -> Figure | None:
        """The figure of a result, None if it has none of that name."""
        return next((figure for figure in result.figures if figure.name == name), None)

    @property
    def counts_differ(self) -> bool:
        """Whether the figures are of different numbers of images or crops."""
        return len({(each.figures[0].n_real, each.figures[0].n_fake) for each in self.results}) > 1


def run_report(*, places: list[Path], out: Path, overwrite: bool) -> None:
    """Writes the page; see `eval_app.cli.results.report` for the arguments.

    Raises:
        UsageError: Files are in the way, or a result is missing or damaged.
    """
    check_ending("--out", out, ".html", ".htm")
    figures_file = out.with_suffix(".json")
    if overwrite and figures_file.exists() and not _is_figures(figures_file):
        raise UsageError(f"{figures_file} exists, and eval-app did not write it; give another --out")
    with own_files([out, figures_file], overwrite=overwrite):
        files = [result_file(place) for place in places]
        if figures_file.resolve() in [file.resolve() for file in files]:
            raise UsageError(f"{figures_file} is one of the results; give another --out")
        results = [Result.load(file) for file in files]
        pictures = [_picture(file, result) for file, result in zip(files, results, strict=True)]
        tables = compared(results)
        page = _page(tables, results, pictures)
        told = {
            "tables": [
                {"kind": table.kind, "apart": table.apart, "results": [asdict(result) for result in table.results]}
                for table in tables
            ]
        }
        for path, text in ((figures_file, json.dumps(told, indent=1, ensure_ascii=False) + "\n"), (out, page)):
            with whole_file(path) as partial:
                partial.write_text(text, encoding="utf-8")
        say(f"{out}, {figures_file} (its figures)")


def _is_figures(path: Path) -> bool:
    """Whether a file holds the figures of a report, so that it may be replaced."""
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))) == ["tables"]
    except (OSError, ValueError, TypeError):
        return False


def compared(results: list[Result]) -> list[Table]:
    """Puts results that may be compared into one table, and tells of the others why they may not."""
    tables: list[Table] = []
    for result in results:
        of_kind = [table for table in tables if table.kind == result.kind]
        reasons = [_reason(table.results[0], result) for table in of_kind]
        if None in reasons:
            of_kind[reasons.index(None)].results.append(result)
        else:
            tables.append(Table(result.kind, [result], reasons[0] if reasons else None))
    return sorted(tables, key=lambda table: list(_TITLES).index(table.kind))


def _reason(first: Result, other: Result) -> str | None:
    """Why the figures of two results mean different things, None if they do not."""
    names = {figure.name: figure for figure in first.figures}
    try:
        for figure in other.figures:
            if figure.name in names:
                names[figure.name].check_comparable(figure)
        if not names.keys() & {figure.name for figure in other.figures}:
            first.figures[0].check_comparable(other.figures[0])
    except FigureError as error:
        return str(error)
    if first.real.sha256 != other.real.sha256:
        return (
            "figures against different real images cannot be compared: "
            f"{', '.join(first.real.places)} and {', '.join(other.real.places)}"
        )
    return None


def _page(tables: list[Table], results: list[Result], pictures: list[str | None]) -> str:
    shown: list[dict[str, Any]] = [
        {
            "table": table,
            "title": _TITLES[table.kind],
            "first": table.results[0].figures[0],
            "values": plot_values([(result.name, result.figures[0]) for result in table.results]),
            "magnifications": plot_magnifications([(result.name, result.by_scale) for result in table.results]),
        }
        for table in tables
    ]
    return render_page(
        "eval_app",
        "report.html",
        {
            "shown": shown,
            "pictured": [(result, picture) for result, picture in zip(results, pictures, strict=True) if picture],
            "results": results,
        },
    )


def _picture(file: Path, result: Result) -> str | None:
    """The picture of a result as part of a page."""
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
