"""Arithmetic of GPUs in float32: IEEE 754, as on a CPU, or the faster TF32, which has 10 bits of mantissa.

By itself torch mixes both on a GPU: convolutions in TF32, linear layers and attention in IEEE. Training allows TF32
everywhere, which costs no quality: it is finer than bfloat16. Sampling in 'fp32' wants IEEE, so that the name means the
same on every device.
"""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

Fp32 = Literal["ieee", "tf32"]


def set_fp32(kind: Fp32) -> None:
    """Sets how this process calculates in float32 on GPUs, from now on; for apps, where they choose a device.

    Where the process has used torch's newer settings, `fp32_precision`, those stay: torch refuses a mixture.
    """
    if _allows_tf32() is not None:
        _allow_tf32(kind == "tf32", kind == "tf32")


@contextlib.contextmanager
def gpu_arithmetic(kind: Fp32, *, fixed_shapes: bool = False) -> Iterator[None]:
    """Sets how this process calculates on GPUs within the block; the settings from before come back after it.

    Args:
        kind: See `set_fp32`.
        fixed_shapes: Images and batches keep their sizes, so cuDNN tries its algorithms and keeps the fastest.
    """
    before, tried = _allows_tf32(), torch.backends.cudnn.benchmark
    try:
        set_fp32(kind)
        torch.backends.cudnn.benchmark = fixed_shapes or tried
        yield
    finally:
        torch.backends.cudnn.benchmark = tried
        if before is not None:
            _allow_tf32(*before)


def _allows_tf32() -> tuple[bool, bool] | None:
    """Whether TF32 is allowed in products of matrices and in convolutions; None if newer settings decide that."""
    try:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def _allow_tf32(matmul: bool, convolutions: bool) -> None:
    # The older names: with the newer ones torch.compile fails, since torch itself still asks for these.
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions
