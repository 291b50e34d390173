"""What every command shares: the console, progress bars and the device."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from enrich_app.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

console = Console()
errors = Console(stderr=True)


def say(text: str) -> None:
    """Prints a line as it is, however long, so that a path in it can be copied."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def say_columns(rows: "Sequence[Sequence[str]]") -> None:
    """Prints rows of text in columns, the first row above a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    say("\n".join(lines))


def progress_bars() -> Progress:
    """Makes progress bars with a count, the time so far, the time left and a note."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def resolve_device(name: str) -> "torch.device":
    """Returns the device that 'auto', 'cpu' or 'cuda' names.

    Raises:
        UsageError: There is no such device, or training cannot be told to use it.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {name}: wanted auto, cpu or cuda; choose a GPU with CUDA_VISIBLE_DEVICES")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: there is no GPU that can be used here; try --device cpu")
    return torch.device(name)
