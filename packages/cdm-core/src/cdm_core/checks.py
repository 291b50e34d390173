"""Checks of tensors from outside: their type, shape and range, and that they are finite. Nothing is made to fit."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EXCESS = 1e-3
"""How far values may leave [0, 1] by rounding."""
NOISY_RANGE = (-8.0, 9.0)
"""Of images to condition on: contexts may carry noise on purpose, but values of 0 to 255 are not meant."""


def check_floats(name: str, values: object) -> Tensor:
    """Returns a tensor of floating-point numbers, as float32 if it is narrower or wider.

    Raises:
        ValueError: It is no tensor, or one of other numbers.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"{name}: wanted a torch.Tensor, got {type(values).__name__}; convert it")
    if not values.is_floating_point():
        kind = str(values.dtype).removeprefix("torch.")
        advice = "divide by 255: x.float() / 255" if values.dtype == torch.uint8 else "convert it: x.float()"
        raise ValueError(f"{name}: wanted floating-point values, got {kind}; {advice}")
    return values.float()


def check_shape(
    name: str, values: Tensor, wanted: Sequence[int | str], advice: str = "bring it to that size first"
) -> None:
    """Checks the shape of a tensor.

    Args:
        name: Of the tensor, for the error's text.
        values: The tensor.
        wanted: Its sizes; a letter takes any.
        advice: What to do about another one.

    Raises:
        ValueError: It has another shape.
    """
    fits = len(wanted) == values.dim() and all(
        isinstance(size, str) or size == found for size, found in zip(wanted, values.shape, strict=True)
    )
    if not fits:
        shape = ", ".join(map(str, wanted)) + ("," if len(wanted) == 1 else "")
        raise ValueError(f"{name}: wanted the shape ({shape}), got {tuple(values.shape)}; {advice}")


def check_values(name: str, values: Tensor, *, low: float = 0.0, high: float = 1.0, finite: bool = True) -> None:
    """Checks that values are finite and in a range; waits for the device that they are on.

    Args:
        name: Of the tensor, for the error's text.
        values: Floating-point numbers.
        low: Least value.
        high: Largest value.
        finite: Refuse what is not finite; else it is passed over.

    Raises:
        ValueError: A value is not finite, or outside the range.
    """
    if not values.numel():
        raise ValueError(f"{name}: wanted values, got none; its shape is {tuple(values.shape)}")
    array = _on_host(values)
    least, largest = float(array.min()), float(array.max())
    if not (math.isfinite(least) and math.isfinite(largest)):
        if finite:
            raise ValueError(f"{name}: has values that are not finite (nan or infinite); remove or repair it")
        kept = array[np.isfinite(array)]
        if not kept.size:
            return
        least, largest = float(kept.min()), float(kept.max())
    if least < low - EXCESS or largest > high + EXCESS:
        raise ValueError(
            f"{name}: wanted values in [{low:g}, {high:g}], got {least:.4g} to {largest:.4g}; {_advice(least, largest)}"
        )


def check_finite(name: str, values: Tensor) -> None:
    """Checks that values of any floating-point type are finite; waits for the device that they are on.

    Raises:
        ValueError: One is not.
    """
    if not np.isfinite(_on_host(values)).all():
        raise ValueError(f"{name}: has values that are not finite (nan or infinite); remove or repair it")


def is_on_host(values: Tensor) -> bool:
    """Tells whether values can be looked at without waiting for a device."""
    return values.device.type == "cpu"


def _on_host(values: Tensor) -> NDArray[np.float32]:
    """Returns values as an array: for those in the host's memory already, no operation of torch waits for a device."""
    array: NDArray[np.float32] = values.detach().float().cpu().numpy()
    return array


def _advice(least: float, largest: float) -> str:
    if largest > 2 and least >= 0:
        return "divide by 255"
    if -1 - EXCESS <= least < -0.5 and largest <= 1 + EXCESS:
        return "add 1 and halve them"
    return "scale or clamp them"
