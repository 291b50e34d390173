"""The device that computes, its arithmetic, and arrays on their way to it."""

import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def ieee_float32() -> Iterator[None]:
    """Computes in IEEE float32 on GPUs too, where torch takes TF32 for convolutions; also a decorator.

    Where the process uses torch's newer settings, `fp32_precision`, those stay: torch refuses a mixture.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        before = matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:
        yield
        return
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = False
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
