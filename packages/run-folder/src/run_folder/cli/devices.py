"""The device that a command calculates on. Needs `run-folder[torch]`."""

from typing import TYPE_CHECKING

from run_folder.errors import UsageError, first_line

if TYPE_CHECKING:
    import torch

_KINDS = ("cpu", "cuda", "mps")
_REASON_LETTERS = 200


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
        if device.type not in _KINDS:
            raise UsageError(f"--device {name}: wanted auto, cpu, cuda, cuda:N or mps")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)[:_REASON_LETTERS]  # PyTorch lists all backends that it knows
        raise UsageError(f"--device {name}: not available here ({reason}); try --device cpu") from None
