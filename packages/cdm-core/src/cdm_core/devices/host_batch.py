"""Batches in the host's memory, and their copies to a device without waiting for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def empty_host_batch(shape: Sequence[int], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Makes a tensor on the host, its values still to be written, for a copy to a device.

    For a GPU it lies in pinned memory: a `non_blocking` copy from there does not wait for all that the device has still
    to do, and the tensor may be let go of at once.
    """
    return torch.empty(tuple(shape), dtype=dtype, device="cpu", pin_memory=device.type == "cuda")


def stacked_on(device: torch.device, arrays: Sequence[NDArray[Any]]) -> Tensor:
    """Stacks arrays of one shape and type to a batch on a device, (B, *shape); a GPU is not waited for."""
    if device.type != "cuda":
        return torch.from_numpy(np.stack(arrays)).to(device)
    first = torch.from_numpy(np.empty(0, arrays[0].dtype))
    batch = empty_host_batch((len(arrays), *arrays[0].shape), device, first.dtype)
    np.stack(arrays, out=batch.numpy())
    return batch.to(device, non_blocking=True)


def copied_to(device: torch.device, values: Tensor) -> Tensor:
    """Returns a tensor on a device; a GPU is not waited for on the way from the host to it."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
