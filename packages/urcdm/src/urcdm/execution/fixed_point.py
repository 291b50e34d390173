"""Noisy images and predictions in 16 bits a number, as whole multiples of 1/4096 between -8 and 8.

Half precision takes the same space, is coarser from 0.25 on, and is slow to convert on most processors.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ONE = 4096
"""The stored value of 1."""
_LEAST, _MOST = -(2**15), 2**15 - 1


def pack(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Stores numbers; those beyond -8 or 8, which do not occur with standard normal noise, are clipped."""
    return np.asarray(np.rint(values * np.float32(ONE)).clip(_LEAST, _MOST), np.int16)


def unpack(packed: NDArray[Any]) -> NDArray[np.float32]:
    """Returns stored numbers, or means of stored ones."""
    return np.asarray(packed, np.float32) * np.float32(1 / ONE)


def pack_tensor(values: Tensor) -> Tensor:
    """Stores numbers on their device, see `pack`."""
    return (values * ONE).round().clamp(_LEAST, _MOST).to(torch.int16)


def unpack_tensor(packed: Tensor) -> Tensor:
    """Returns stored numbers as float32, on their device."""
    return packed.float() / ONE
