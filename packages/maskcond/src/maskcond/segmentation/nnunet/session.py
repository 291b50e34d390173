"""The environment in which nnU-Net is called; it is restored afterwards."""

import contextlib
import io
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from run_folder import environment

LOG_FILE = "nnunet.log"


@contextlib.contextmanager
def nnunet_session(
    folder: Path, *, seed: tuple[int, ...], device: torch.device, plans: bool = False, keep_log: bool = True
) -> Iterator[None]:
    """Sets environment variables and global random generators for nnU-Net, and collects its output.

    Printed text and warnings go to a log in the folder. Afterwards the environment and the generators are restored.
    Not for several threads at once, because all of this belongs to the process.

    Args:
        folder: Folder that nnU-Net writes in: `raw`, `preprocessed`, `results`.
        seed: Seed of the random generators, another one for each call.
        device: Device of the network.
        plans: Whether nnU-Net makes plans in this session.
        keep_log: Whether to write the log.
    """
    paths = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    with contextlib.ExitStack() as stack:
        # number of augmenting processes: planning needs one, training has its own, see `SeededBatches`
        stack.enter_context(environment({**paths, "nnUNet_n_proc_DA": str(int(plans))}))
        stack.enter_context(random_generators(seed, device))
        log = stack.enter_context(_log(folder) if keep_log else io.StringIO())
        stack.enter_context(contextlib.redirect_stdout(log))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("default")
        try:
            yield
        finally:
            log.writelines(f"{warning.category.__name__}: {warning.message}\n" for warning in caught)


def _log(folder: Path) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / LOG_FILE).open("a", encoding="utf-8")


@contextlib.contextmanager
def random_generators(seed: tuple[int, ...], device: torch.device | None = None) -> Iterator[None]:
    """Seeds the global random generators of the CPU and of a device within the block, and restores them afterwards."""
    state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    python, legacy = random.getstate(), np.random.get_state()
    on_gpu = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        random.seed(state)
        np.random.seed(state)
        torch.default_generator.manual_seed(state)
        if device is not None and on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(state)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
