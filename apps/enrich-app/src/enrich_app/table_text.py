"""The table of strategies on the console."""

from pathlib import Path

from maskcond.enrichment.strategies.strategy_table import TableFigure, read_table
from run_folder.cli.console import say, say_columns

NAMES = {"dice": "Dice", "aji": "AJI", "aji_plus": "AJI+", "pq": "PQ"}


def show_table(folder: Path) -> None:
    """Prints Dice and AJI of a run, in percent, with their intervals over images."""
    rows, confidence = read_table(folder / "table" / "table.json")
    lines = [["strategy", "test images", "Dice", "AJI", "AJI against (1)"]]
    for row in rows:
        figures = row.figures["dice"], row.figures["aji"]
        lines.append(
            [f"({row.strategy})", f"{row.split}, {row.images}", *map(percent, figures), difference(figures[1])]
        )
    say_columns(lines)
    say(f"{confidence:.0%} intervals by bootstrap of the images; {rows[0].seeds} models of each strategy")


def percent(figure: TableFigure) -> str:
    """A value and its interval over images, in percent."""
    low, high = figure.over_images
    return f"{100 * figure.value:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def difference(figure: TableFigure) -> str:
    """The difference to strategy 1 and its interval over images, in percent; empty for strategy 1."""
    if figure.difference is None or figure.difference_over_images is None:
        return ""
    low, high = figure.difference_over_images
    return f"{100 * figure.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
