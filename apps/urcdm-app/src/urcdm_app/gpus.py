"""The GPUs of this machine among which processes share work."""

import os
import re
from collections.abc import Sequence

from run_folder import UsageError


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names each."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(number) for number in range(count)])[:count]


def chosen_places(gpus: str, device: str, processes: int) -> list[str | None]:
    """Returns the GPU of each process that `--gpus` asks for; None for a process on the CPU.

    Args:
        gpus: 'all', or a number.
        device: 'auto' where processes use GPUs, 'cpu' where they share the processors.
        processes: How many processes a launcher started.

    Raises:
        UsageError: It is neither, or there are fewer GPUs; or a launcher distributes the steps.
    """
    if processes > 1:
        raise UsageError(
            f"--gpus {gpus}: a launcher started {processes} processes, which share each step; leave --gpus out, or "
            "start one process"
        )
    if gpus != "all" and not re.fullmatch(r"[1-9][0-9]{0,3}", gpus):
        raise UsageError(f"--gpus {gpus}: wanted 'all' or a number, such as 8")
    if device == "cpu":
        if gpus == "all":
            raise UsageError("--gpus all: no GPU is used here; give the number of processes that share the processors")
        return [None] * int(gpus)
    visible: Sequence[str] = visible_gpus()
    if gpus != "all" and int(gpus) > len(visible):
        raise UsageError(f"--gpus {gpus}: there are {len(visible)} GPUs here; give at most that number, or 'all'")
    return list(visible) if gpus == "all" else list(visible[: int(gpus)])


def unused_gpus(device: str, advice: str = "") -> str | None:
    """Returns the line for a run that uses one of several GPUs by default, or None.

    Args:
        device: `--device`.
        advice: What uses the others; for training if not given.
    """
    if device != "auto":
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    advice = advice or "--gpus all trains a network on each; accelerate launch shares each step among them"
    return f"{count} GPUs here, of which this run uses one: {advice}" if count > 1 else None
