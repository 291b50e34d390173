"""What every command shares: the console and progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console()
errors = Console(stderr=True)


def say(text: str) -> None:
    """Prints a line as it is, however long, so that a path in it can be copied."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def progress_bars() -> Progress:
    """Makes progress bars with a count, the time so far and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
