"""The device that computes, and arrays on their way to it."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pfid.errors import PfidError
from run_folder import first_line

Device = str | torch.device | None


def find_device(name: str) -> torch.device:
    """Returns the device that 'auto', 'cpu', 'cuda' or 'cuda:1' names; 'auto' is a GPU if there is one.

    Raises:
        PfidError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise PfidError(f"device {name} is not available here ({first_line(error)}); try cpu") from None


def on_device(values: NDArray[Any], device: Device) -> Tensor:
    """Copies an array to a device, the CPU if None, without waiting for a GPU."""
    copied = torch.tensor(values)
    if device is None or torch.device(device).type != "cuda":
        return copied.to(device)
    return copied.pin_memory().to(device, non_blocking=True)
