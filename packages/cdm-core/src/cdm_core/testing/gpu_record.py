"""The record of what a pretended GPU was asked to do, see `cdm_core.testing.pretended_cuda`."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import torch

LIBRARIES = {
    *("accelerate", "diffusers", "dynamic_network_architectures", "efficientnet_lite_pytorch", "einops"),
    *("imagen_pytorch", "numpy", "safetensors", "torch"),
    *("_pytest", "concurrent", "contextlib", "functools", "threading", "unittest"),
}
"""Code whose lines are passed over for the line of the code that calls it."""


@dataclass(frozen=True)
class Copy:
    """A copy between the host's memory and the device's.

    Args:
        to: Type of the device that it goes to.
        place: File and line that ask for it.
        size: Number of values.
        pinned: Whether the host's memory is pinned.
        blocking: Whether the host waits for it, and for all that the device has still to do.
    """

    to: Literal["cpu", "cuda"]
    place: str
    size: int
    pinned: bool
    blocking: bool


@dataclass(frozen=True)
class AttentionCall:
    """A call of `torch.nn.functional.scaled_dot_product_attention`.

    Args:
        place: File and line that call it.
        dtypes: Of queries, keys and values as they are handed over, before autocast would cast them.
        width: Numbers of a query.
        masked: Whether it has a mask, which the fastest kernels do not take.
    """

    place: str
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype]
    width: int
    masked: bool


@dataclass(frozen=True)
class Convolution:
    """A convolution of images.

    Args:
        place: File and line that call it.
        shape: Of its input, (B, C, H, W).
        dtype: In which it calculates.
        input_layout: Memory format of its input; None where both formats are the same.
    """

    place: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    input_layout: torch.memory_format | None


@dataclass
class GpuRecord:
    """What a pretended GPU was asked to do. Places are 'module/path.py:LINE' of the innermost line of one's own code.

    Attributes:
        waits: What the host waited for, and where: values read back, blocking copies, `synchronize`.
        copies: All copies between host and device.
        launches: How often each operation ran on the device, without views and allocations.
        written: Numbers that operations on the device wrote, by type.
        attentions: All calls of attention.
        convolutions: All convolutions of images.
        seedings: Where the device's global generator was seeded.
        races: Where the host touched pinned memory that a copy may have been at work on.
    """

    waits: Counter[str] = field(default_factory=Counter)
    copies: list[Copy] = field(default_factory=list)
    launches: Counter[str] = field(default_factory=Counter)
    written: Counter[torch.dtype] = field(default_factory=Counter)
    attentions: list[AttentionCall] = field(default_factory=list)
    convolutions: list[Convolution] = field(default_factory=list)
    seedings: Counter[str] = field(default_factory=Counter)
    races: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forgets all."""
        for each in vars(self).values():
            each.clear()

    def blocking(self, to: Literal["cpu", "cuda"]) -> list[Copy]:
        """Returns the copies to the host or to the device that the host waited for."""
        return [copy for copy in self.copies if copy.to == to and copy.blocking]

    @property
    def channels_first(self) -> list[Convolution]:
        """The convolutions whose input has its channels first; what they make has, too."""
        return [each for each in self.convolutions if each.input_layout is torch.contiguous_format]

    def wait(self, reason: str) -> None:
        """Notes that the host waits for the device."""
        self.waits[f"{reason} at {place()}"] += 1


def place() -> str:
    """Returns the innermost line of code that is neither of a library nor of this folder."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "?"))
        if module.partition(".")[0] not in LIBRARIES and not module.startswith(__package__ or "?"):
            return f"{module.replace('.', '/')}.py:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


def layout(tensor: torch.Tensor) -> torch.memory_format | None:
    """Returns the memory format of images, (B, C, H, W), or None where they have both."""
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    if last and tensor.is_contiguous():
        return None
    return torch.channels_last if last else torch.contiguous_format
