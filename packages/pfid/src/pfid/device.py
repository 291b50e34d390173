"""The device that computes, and arrays on their way to it."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Device = str | torch.device | None


def on_device(values: NDArray[Any], device: Device) -> Tensor:
    """Copies an array to a device, the CPU if None, without waiting for a GPU."""
    copied = torch.tensor(values)
    if device is None or torch.device(device).type != "cuda":
        return copied.to(device)
    return copied.pin_memory().to(device, non_blocking=True)
