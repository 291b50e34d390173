"""`urcdm-app info --plan`: the networks of a training plan, and the memory of a device that they take."""

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cdm_core import StageConfig, TrainingConfig
from cdm_core.memory import MOST_IMAGES, StageMemory
from run_folder.cli.console import console, progress_bars, say
from urcdm.training.plan_file import read_plan

GB = 10**9
DEVICES_GB = (24, 40, 80, 141)
"""Memory of GPUs that are sold, as they are called; each has 5 % more bytes than that, for what is not counted."""


def run_plan_info(path: Path) -> None:
    """Prints the networks of a plan with estimates of their memory; nothing is trained, and no GPU is needed.

    Args:
        path: A TOML file, or the name of a plan.

    Raises:
        ConfigError: The plan cannot be read, or one of its networks cannot be made.
    """
    plan = read_plan(path)
    table, sizes = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False), [str(size) for size in DEVICES_GB]
    fits = f"fits {', '.join(sizes[:2])},\n{', '.join(sizes[2:])} GB"
    for name in ("network", "weights", "chunk", "states", "kept", "peak", fits, "sampling"):
        table.add_column(name, no_wrap=True)
    alike: list[tuple[StageConfig, TrainingConfig, list[str]]] = []
    with progress_bars(notes=True) as bars:
        task = bars.add_task("estimating memory", total=len(plan.networks), note="")
        for network in plan.networks:
            key = network.stage, replace(network.training, steps=1, seed=0)
            row = next((row for stage, training, row in alike if (stage, training) == key), None)
            if row is None:
                row = _row(*key)
                alike.append((*key, row))
            table.add_row(network.name, *row)
            bars.advance(task)
    console.print(table)
    say(
        "Estimates in GB of 10^9 bytes. Chunk: images on the device at once, of a step's batch. States: weights, "
        "gradients, moments, running mean. Kept: from the forward for the backward. Fits: the largest chunk_size, up "
        f"to {MOST_IMAGES}, on GPUs of these sizes. Sampling: weights and each image of a batch, in bf16; so is "
        "training where the plan leaves the precision to the device. A compiled network keeps less; a teacher, and the "
        "discriminator of finishing, come on top."
    )


def _row(stage: StageConfig, training: TrainingConfig) -> list[str]:
    memory = StageMemory(stage, training)
    step, sampling = memory.training_memory(), memory.sampling_memory()
    fitting = [memory.largest_chunk(size * GB) for size in DEVICES_GB]
    return [
        f"{memory.parameters / 1e6:.1f} M",
        f"{step.chunk} of {training.batch_size}",
        *(_gb(value) for value in (step.states, step.kept, step.peak)),
        " ".join(str(count) if count else "-" for count in fitting),
        f"{_gb(sampling.weights)} + {_gb(sampling.image)}",
    ]


def _gb(count: int) -> str:
    return f"{count / GB:.1f}" if count >= GB else f"{count / GB:.2f}"
