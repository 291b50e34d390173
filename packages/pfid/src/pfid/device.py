"""Arrays on their way to the device that calculates with them."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Device = str | torch.device | None


def on_device(values: NDArray[Any], device: Device) -> Tensor:
    """Copies an array to a device, the CPU if None; a GPU is not waited for."""
    copied = torch.tensor(values)
    if device is None or torch.device(device).type != "cuda":
        return copied.to(device)
    return copied.pin_memory().to(device, non_blocking=True)
