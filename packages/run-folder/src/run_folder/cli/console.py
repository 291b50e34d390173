"""The console and progress bars."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console()
errors = Console(stderr=True)


def say(text: str) -> None:
    """Prints a line unwrapped and unformatted, so that a path in it can be copied."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def say_columns(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text in columns, the first row above a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    say("\n".join(lines))


def progress_bars(*, notes: bool = False, shown: bool = True) -> Progress:
    """Makes progress bars with a count, the time so far and the time left.

    Args:
        notes: Whether each bar ends in a note, the field `note` of its task.
        shown: Whether to show the bars.
    """
    note = [TextColumn("{task.fields[note]}")] if notes else []
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *note,
        console=console,
        disable=not shown,
    )
