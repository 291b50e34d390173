"""What every command shares: the console, progress bars and the device."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eval_app.errors import UsageError
from run_folder import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from pfid import Figure

console = Console()
errors = Console(stderr=True)


def say(text: str) -> None:
    """Prints a line as it is, however long, so that a path in it can be copied."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def show_figures(figures: "Sequence[Figure]") -> None:
    """Prints figures of one measurement: all about the first, then the values of the others."""
    say(str(figures[0]))
    for figure in figures[1:]:
        say(f"{figure.name} {figure.value:.5g}")


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


def resolve_device(name: str) -> "torch.device":
    """Returns the device that 'auto', 'cpu', 'cuda' or 'cuda:1' names.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not available here ({first_line(error)}); try --device cpu") from None
