"""Every kind of stage ends with two processes as with one: trained, distilled, finished, and compiled or not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cdm_core import SamplingConfig, StageConfig, dump_config
from cdm_core.testing.tiny import tiny_latent_unet

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(find_spec("diffusers") is None, reason="latent stages need diffusers"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' own
]

SCRIPT = """
import json
import multiprocessing
import warnings
from pathlib import Path
import torch
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
warnings.simplefilter("ignore")
import diffusers  # before the processes fork
from cdm_core import (
    FinishingConfig,
    StageConfig,
    TrainingConfig,
    build_unet,
    distill_stage,
    parse_config,
    seeded_weights,
    train_stage,
)
from cdm_core.networks.imagen_offline import imagen_module

PLAN = json.loads(Path("plan.json").read_text())
compiled = []


class Pictures:
    def __init__(self, channels):
        self.channels = channels

    def __getitem__(self, draw):
        picture = torch.rand(3 + self.channels, 16, 16, generator=torch.Generator().manual_seed(draw))
        return {"image": picture[:3]} | ({"cond_images": picture[3:]} if self.channels else {})


def compile_fast():
    inner = nn.Module.compile

    def compile(self, **options):
        compiled.append(type(self).__name__)
        inner(self, backend="aot_eager", **options)  # the graphs of forward and backward, without a compiler of C++

    nn.Module.compile = compile


def work(folder):
    torch.set_num_threads(1)
    compile_fast()
    for name, task in PLAN["tasks"].items():
        stage = parse_config(StageConfig, task["stage"], "stage")
        training = parse_config(TrainingConfig, PLAN["training"], "training")
        examples, out = Pictures(task["channels"]), Path(folder, name)
        with seeded_weights(1):
            network = build_unet(stage)
        if task["work"] == "distill":
            events = distill_stage(network, stage, training, examples, out, steps=(2, 1), device="cpu")
        else:
            finishing = FinishingConfig(starts_at=0, rises_for=2, r1_every=2, widths=(8, 8))
            options = {"finishing": finishing} if task["work"] == "finish" else {}
            events = train_stage(stage, training, examples, out, device="cpu", initial=network, **options)
        for event in events:
            pass
    if training.compile:
        from torch._dynamo.utils import counters

        Path(f"{folder}.counts").write_text(
            json.dumps([len(compiled), counters["stats"]["unique_graphs"], list(counters["graph_break"])])
        )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    # as torchrun does, except that its processes do not import everything again
    imagen_module()
    alone = multiprocessing.get_context("fork").Process(target=work, args=("one",))
    alone.start()
    alone.join()
    assert alone.exitcode == 0
    settings = {"nproc_per_node": 2, "start_method": "fork", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    elastic_launch(LaunchConfig(1, 1, run_id="test", max_restarts=0, **settings), work)("two")
"""


@pytest.fixture(scope="module")
def stages(tiny_stage: Callable[..., StageConfig]) -> dict[str, tuple[StageConfig, int]]:
    """A stage of each kind, with the channels of its conditions."""
    unet, few = {"dim": 16, "dim_mults": (1,)}, SamplingConfig(4, "ddim")
    masked = {**unet, "cond_images_channels": 2}
    latent = StageConfig(
        16,
        tiny_latent_unet(cond_images_channels=2),
        schedule="scaled_linear",
        sampling=replace(few, threshold="none"),
    )
    return {
        "base": (tiny_stage(unet, image_px=16, sampling=few), 0),
        "enlarging": (tiny_stage(unet, image_px=16, lowres_px=8, sampling=few), 0),
        "masked": (tiny_stage(masked, image_px=16, sampling=few), 2),
        "latent": (latent, 2),
    }


Run = Callable[..., Path]


@pytest.fixture
def run(stages: dict[str, tuple[StageConfig, int]], tmp_path: Path, runs: Any) -> Run:
    """Does tasks in one process, then in two; returns the folder with both."""

    def run(*tasks: tuple[str, str], compiled: bool = False) -> Path:
        # a process has two chunks of one, and shares gradients after the second
        training = runs.settings(steps=3, batch_size=4, chunk_size=1, compile=compiled, sample_every=10)
        plan = {"training": dump_config(training), "tasks": {}}
        for work, kind in tasks:
            stage, channels = stages[kind]
            if work == "finish":
                stage = replace(stage, sampling=SamplingConfig(2, "ddim"))
            plan["tasks"][f"{work} {kind}"] = {"work": work, "stage": dump_config(stage), "channels": channels}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        (tmp_path / "script.py").write_text(SCRIPT)
        result = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return tmp_path

    return run


def pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The training runs of one process, each with the same of two."""
    for path in sorted((folder / "one").rglob("state.pt")):
        yield path.parent, folder / "two" / path.parent.relative_to(folder / "one")


def check(folder: Path, runs: Any, count: int) -> None:
    both = list(pairs(folder))
    assert len(both) == count
    for one, two in both:
        runs.assert_close(runs.state(one), runs.state(two))
        losses = [[line["loss"] for line in runs.log(run)] for run in (one, two)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4), one


EVERY = [(work, kind) for work in ("train", "distill") for kind in ("base", "enlarging", "masked", "latent")]
EVERY += [("finish", kind) for kind in ("base", "enlarging", "masked")]  # latent stages cannot be finished
CHAIN = sum(work == "distill" for work, _ in EVERY)


@pytest.mark.timeout(900)
def test_every_kind_of_stage_ends_as_with_one_process(run: Run, runs: Any) -> None:
    check(run(*EVERY), runs, len(EVERY) + CHAIN)


@pytest.mark.timeout(900)
def test_compiled_networks_end_as_with_one_process(run: Run, runs: Any) -> None:
    tasks = ("train", "base"), ("train", "latent"), ("distill", "enlarging"), ("finish", "masked")
    folder = run(*tasks, compiled=True)
    check(folder, runs, len(tasks) + 1)  # the students of distillation are two
    counts = list(folder.glob("*.counts"))
    assert len(counts) == 2
    for path in counts:
        networks, graphs, breaks = json.loads(path.read_text())
        assert networks > len(tasks)
        assert graphs >= networks
        assert not breaks
