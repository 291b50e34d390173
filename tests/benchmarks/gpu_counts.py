"""Counts, without a GPU, what a GPU has to do: kernels, waits and copies a step, and compilations, by path.

    uv run python tests/benchmarks/gpu_counts.py [--only WORD] [--json FILE] [--before FILE]

Networks are those of the study's last level: at full size for sampling, narrow and of the same structure for training,
since a full-size training step takes minutes without a GPU; narrowing changes the number of kernels by up to 1.3 %.
Steps run on a pretended GPU (`cdm_core.testing.pretended_cuda`). Compilations are counted on the CPU, by a backend of
`torch.compile` that runs the graph as it is: all networks of the study's plan one after the other in one process, each
for two batches, which should take one compilation a network and break nowhere; six minutes of one core.
Loops of four steps are compiled as a whole for the stages of one level.

For a table of before and after, run it at an older commit first, with this file and the folder of `pretended_cuda`
copied there and the imports adapted, write its figures with `--json`, and pass them as `--before` here. A path that
fails is reported and has no figures.
"""

import argparse
import contextlib
import functools
import json
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from imagen_speed import Pictures
from torch import Tensor, nn

from cdm_core import StageConfig, TrainingConfig, build_unet, sample_stage
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.distillation.teacher import student_of
from cdm_core.stages.inference import compile_in_place, compiled_steps, prepare_for_sampling
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda
from cdm_core.training.loop import train_stage
from cdm_core.training.students import distill_stage
from urcdm.presets import PLANS

BATCH, CHUNK = 8, 4
SHRINKS = 8
LEVEL = "high"
"""Of the study's plan: it has a network of every kind, with contexts."""
NEVER = 10**6
COUNTED = {"kernels": "kernels a step", "waits": "waits a step", "copies": "blocking copies a step"}
ONCE = {"waits_a_call": "waits a call"}
COMPILED = {
    "networks": "networks",
    "compilations": "compilations",
    "recompilations": "recompilations",
    "breaks": "breaks",
}
Counts = dict[str, float]


def narrow(config: StageConfig) -> StageConfig:
    """The stage with a network of the same structure, of few numbers."""
    unet = replace(config.unet, dim=16, cond_dim=16, attn_heads=2, attn_dim_head=16)
    lowres_px = config.lowres_px and config.lowres_px // SHRINKS
    return replace(config, image_px=config.image_px // SHRINKS, lowres_px=lowres_px, unet=unet)


def short(config: StageConfig) -> StageConfig:
    """A narrow network of one block a resolution: compilations of it are counted, not its kernels."""
    small = narrow(config)
    return replace(small, unet=replace(small.unet, num_resnet_blocks=1))


def stages(level: str = LEVEL) -> dict[str, StageConfig]:
    """The stages of a level by name, such as '64 px'."""
    return {f"{each.stage.image_px:,} px": each.stage for each in PLANS["study"].networks if each.level == level}


def conditions(config: StageConfig, batch: int, device: str) -> dict[str, Tensor]:
    """Random conditions of a batch, by their names in `sample_stage`."""
    images = {}
    if config.lowres_px is not None:
        images["lowres"] = torch.rand(batch, 3, config.lowres_px, config.lowres_px, device=device)
    if channels := config.unet.cond_images_channels:
        images["cond_images"] = torch.rand(batch, channels, config.image_px, config.image_px, device=device)
    return images


def settings(**changes: Any) -> TrainingConfig:
    """Settings of a run in which the host looks at the device after the first step only."""
    never = dict.fromkeys(("log_every", "checkpoint_every", "sample_every", "validate_every"), NEVER)
    shared = {"steps": NEVER, "batch_size": BATCH, "chunk_size": CHUNK, "precision": "bf16", "workers": 0}
    return TrainingConfig(**{**shared, **never, **changes})


def sampling_counts(config: StageConfig) -> Counts:
    """Counts of a step, from calls of three steps and of one, in bf16, with the noise drawn on the host."""
    with pretended_cuda() as gpu:
        unet = prepare_for_sampling(build_unet(config).to("cuda"), precision="bf16")
        images, calls = conditions(config, BATCH, "cuda"), []
        for steps in (1, 3):
            generators = [torch.Generator().manual_seed(i) for i in range(BATCH)]
            gpu.clear()
            sample_stage(unet, config, generators=generators, steps=steps, **images)
            calls.append(counts_of(gpu))
        of_steps = {name: (calls[1][name] - calls[0][name]) / 2 for name in COUNTED}
        return of_steps | {"waits_a_call": calls[0]["waits"]}


def step_counts(events: Callable[[Path], Any]) -> Counts:
    """Counts of a step of training, of the two after the first."""
    with pretended_cuda() as gpu, tempfile.TemporaryDirectory() as folder:
        run = events(Path(folder))
        for _ in islice(run, 1):
            gpu.clear()
        list(islice(run, 2))
        counts = counts_of(gpu)
        with mock.patch("cdm_core.training.guard.save_state"):
            run.close()
        return {name: value / 2 for name, value in counts.items()}


def counts_of(gpu: GpuRecord) -> Counts:
    """The record's numbers of kernels, waits and blocking copies in either direction."""
    copies = len(gpu.blocking("cuda")) + len(gpu.blocking("cpu"))
    return {"kernels": gpu.launches.total(), "waits": gpu.waits.total(), "copies": copies}


def training(config: StageConfig) -> Counts:
    crop = None if config.image_px <= 256 // SHRINKS else 256 // SHRINKS  # as the study trains the last stage
    return step_counts(lambda folder: train_stage(config, settings(crop_px=crop), Pictures(config, BATCH), folder))


def distillation(config: StageConfig, method: Any) -> Counts:
    config = replace(config, objective="v")
    return step_counts(
        lambda folder: distill_stage(
            build_unet(config), config, settings(), Pictures(config, BATCH), folder, steps=(2,), method=method
        )
    )


def finishing(config: StageConfig) -> Counts:
    losses = FinishingConfig(widths=(8, 8), starts_at=0, rises_for=1)
    student = student_of(replace(config, objective="v"), 4)
    return step_counts(
        lambda folder: train_stage(
            student, settings(), Pictures(config, BATCH), folder, initial=build_unet(student), finishing=losses
        )
    )


def paths() -> dict[str, Callable[[], Counts]]:
    """The paths that are counted on the pretended GPU, by name."""
    counted: dict[str, Callable[[], Counts]] = {}
    full = stages()
    for name, config in full.items():
        counted[f"sampling {name}, {config.sampling.method}"] = functools.partial(sampling_counts, config)
    for method in ("ddim", "dpmpp_2m", "heun"):
        config = replace(full["256 px"], sampling=replace(full["256 px"].sampling, method=method))
        counted[f"sampling 256 px, {method}"] = functools.partial(sampling_counts, config)
    for name, config in full.items():
        counted[f"training {name}"] = functools.partial(training, narrow(config))
    middle = narrow(full["256 px"])
    for method in ("progressive", "consistency"):
        counted[f"distillation 256 px, {method}"] = functools.partial(distillation, middle, method)
    counted["finishing 256 px"] = functools.partial(finishing, middle)
    return counted


@contextlib.contextmanager
def counted_compilations() -> Iterator[dict[str, int]]:
    """Counts the compilations and the graph breaks of `torch.compile` within the block; the graphs run as they are."""
    from torch._dynamo.utils import counters

    counts = {"compilations": 0, "breaks": 0}
    original = torch.compile

    def backend(graph: Any, _: Any) -> Any:
        counts["compilations"] += 1
        return graph.forward

    @functools.wraps(original)
    def counting(*args: Any, **options: Any) -> Any:
        return original(*args, **{**options, "mode": None, "backend": backend})

    torch.compiler.reset()
    counters.clear()
    with mock.patch("torch.compile", counting):
        yield counts
    counts["breaks"] = sum(counters["graph_break"].values())
    torch.compiler.reset()


def of_plan() -> list[StageConfig]:
    """The stages of all networks of the plan, shortened."""
    return [short(each.stage) for each in PLANS["study"].networks]


def compiled_sampling() -> Counts:
    """All networks of the plan, two batches each."""
    with counted_compilations() as counts:
        for config in of_plan():
            unet = prepare_for_sampling(build_unet(config))
            compile_in_place(unet)
            sample(unet, config)
            sample(unet, config)
    return summed(counts, len(of_plan()))


def compiled_loops() -> Counts:
    """The students of a level, their loops compiled by one function, two batches each."""
    students = [student_of(replace(short(config), objective="v"), 4) for config in stages().values()]
    with counted_compilations() as counts:
        take = compiled_steps()
        for config in students:
            unet = prepare_for_sampling(build_unet(config))
            sample(unet, config, take=take)
            sample(unet, config, take=take)
    return summed(counts, len(students))


def compiled_training() -> Counts:
    """All networks of the plan, two steps each on even chunks."""
    with counted_compilations() as counts, mock.patch("cdm_core.training.guard.save_state"):
        for config in of_plan():
            chosen = settings(compile=True, batch_size=2, chunk_size=1, precision="fp32")
            with tempfile.TemporaryDirectory() as folder:
                run: Any = train_stage(config, chosen, Pictures(config, 2), Path(folder), device="cpu")
                list(islice(run, 2))
                run.close()
    return summed(counts, len(of_plan()))


def sample(unet: nn.Module, config: StageConfig, **how: Any) -> Tensor:
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    few = None if how else 2
    return sample_stage(unet, config, generators=generators, steps=few, **conditions(config, 2, "cpu"), **how)


def summed(counts: dict[str, int], networks: int) -> Counts:
    return {"networks": networks, **counts, "recompilations": counts["compilations"] - networks}


COMPILATIONS: dict[str, Callable[[], Counts]] = {
    "compiled sampling": compiled_sampling,
    "compiled loops of 4 steps": compiled_loops,
    "compiled training": compiled_training,
}


def tables(figures: dict[str, Counts], before: dict[str, Counts]) -> str:
    """Returns the figures as tables of the documentation; a cell with both is 'before, after'."""

    def cell(name: str, key: str) -> str:
        values = [each[name].get(key) for each in (before, figures) if name in each]
        return ", ".join("" if value is None else f"{value:,.1f}".removesuffix(".0") for value in values)

    lines: list[str] = []
    for columns, names in ((COUNTED | ONCE, paths()), (COMPILED, COMPILATIONS)):
        lines += ["| path | " + " | ".join(columns.values()) + " |", "| --- |" + " --- |" * len(columns)]
        lines += [
            f"| {name} | " + " | ".join(cell(name, key) for key in columns) + " |" for name in names if name in figures
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="paths whose names have this in them")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--before", type=Path, help="figures of an older commit")
    arguments = parser.parse_args()
    figures: dict[str, Counts] = {}
    for name, count in (paths() | COMPILATIONS).items():
        if arguments.only not in name:
            continue
        try:
            figures[name] = count()
        except Exception:
            traceback.print_exc()  # an older commit may not have the path
            continue
        print(name, figures[name], flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    before = json.loads(arguments.before.read_text(encoding="utf-8")) if arguments.before is not None else {}
    print(tables(figures, before))


if __name__ == "__main__":
    main()
