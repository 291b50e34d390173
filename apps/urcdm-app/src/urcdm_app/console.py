"""Parts that all commands share: the console, progress bars, the device, existing files."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from run_folder import first_line
from urcdm_app.errors import UsageError

if TYPE_CHECKING:
    import torch

_DEVICES = ("cpu", "cuda", "mps")
_REASON_LETTERS = 200
console = Console()
errors = Console(stderr=True)


def say(text: str) -> None:
    """Prints a line without wrapping, so that a path in it can be copied."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def progress_bars(*, shown: bool = True) -> Progress:
    """Makes progress bars with a count, the time so far and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not shown,
    )


def resolve_device(name: str) -> "torch.device":
    """Returns the device that 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps' names.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in _DEVICES:
            raise UsageError(f"--device {name}: wanted auto, cpu, cuda, cuda:N or mps")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)[:_REASON_LETTERS]  # PyTorch lists all backends that it knows
        raise UsageError(f"--device {name}: not available here ({reason}); try --device cpu") from None


def refuse_existing(paths: list[Path], *, overwrite: bool) -> None:
    """Raises UsageError if one of the paths exists, unless it may be overwritten."""
    for path in paths:
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists; give another --out, or --overwrite to replace it")
