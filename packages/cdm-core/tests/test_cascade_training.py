"""All networks of a cascade trained one after the other."""

from collections.abc import Callable, Generator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cdm_core import Cascade, ConfigError, SamplingConfig, StageConfig, TrainingConfig
from cdm_core.distillation.finishing import FinishingConfig, FinishingPlan
from cdm_core.training.cascade_training import NetworkEvent, NetworkTraining, train_cascade

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]


@pytest.fixture
def networks(tiny_stage: Stage, upper: StageConfig, runs: Any) -> list[NetworkTraining]:
    """A base model in two phases, and a stage that enlarges, in one."""
    twice = {"first": runs.settings(steps=2), "then": runs.settings(steps=1)}
    return [NetworkTraining("8", tiny_stage(), twice), NetworkTraining("16", upper, {"": runs.settings(steps=2)})]


def train(networks: list[NetworkTraining], folder: Path, runs: Any, *, resume: bool = False) -> Any:
    def examples_of(phase: str, training: TrainingConfig) -> tuple[Any, None]:
        return runs.pictures(), None

    return train_cascade(networks, examples_of, folder, device="cpu", resume=resume)


def to_the_end(events: Generator[NetworkEvent, None, Cascade]) -> tuple[list[NetworkEvent], Cascade]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def weights(cascade: Cascade) -> list[dict[str, torch.Tensor]]:
    return [dict(unet.state_dict()) for unet in cascade.unets]


def test_networks_are_trained_in_order_and_make_a_cascade(
    networks: list[NetworkTraining], tmp_path: Path, runs: Any
) -> None:
    events, cascade = to_the_end(train(networks, tmp_path, runs))
    seen = [(event.network, event.training.step, event.steps) for event in events]
    assert seen == [("8-first", 1, 2), ("8-first", 2, 2), ("8-then", 1, 1), ("16", 1, 2), ("16", 2, 2)]
    assert list(cascade.config.stages) == [network.stage for network in networks]
    assert cascade.provenance["steps"] == "8-first 2 x 2; 8-then 1 x 2; 16 2 x 2"
    first, then = (runs.state(tmp_path / name) for name in ("8-first", "8-then"))
    ema = {name.removeprefix("module."): value for name, value in first["ema"].items() if name != "n_averaged"}
    change = max(float((then["unet"][name] - value).abs().max()) for name, value in ema.items())
    assert 0 < change < 0.01  # a phase begins with the averaged weights of the one before


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_cascade_goes_on_where_it_was_interrupted(
    networks: list[NetworkTraining], tmp_path: Path, runs: Any, stop: int
) -> None:
    _, whole = to_the_end(train(networks, tmp_path / "whole", runs))
    events = train(networks, tmp_path / "parts", runs)
    assert len(list(islice(events, stop))) == stop
    events.close()
    rest, parts = to_the_end(train(networks, tmp_path / "parts", runs, resume=True))
    assert len(rest) == 5 - stop
    runs.assert_same(weights(parts), weights(whole))


def test_the_network_to_begin_with_is_asked_for_once_and_only_if_needed(
    tiny_stage: Stage, random_unet: Unet, tmp_path: Path, runs: Any
) -> None:
    stage, asked = tiny_stage(), list[int]()

    def initial() -> nn.Module:
        asked.append(1)
        return random_unet(stage)

    still = runs.settings(steps=1, learning_rate=0.0, warmup_steps=0)
    network = NetworkTraining("8", stage, {"": still}, initial)
    _, cascade = to_the_end(train([network], tmp_path, runs))
    runs.assert_same(weights(cascade), [dict(random_unet(stage).state_dict())])
    to_the_end(train([network], tmp_path, runs, resume=True))
    assert len(asked) == 1


def test_a_network_that_is_finished_becomes_its_student_with_its_share_of_the_weights(
    tiny_stage: Stage, random_unet: Unet, tmp_path: Path, runs: Any
) -> None:
    stage = tiny_stage(sampling=SamplingConfig(8))
    losses = FinishingConfig(widths=(8, 8), starts_at=0)
    plan = FinishingPlan(runs.settings(steps=1), losses, steps=2, share=0.5)
    network = NetworkTraining("8", stage, {"finished": plan}, lambda: random_unet(stage))
    _, cascade = to_the_end(train([network], tmp_path, runs))
    assert cascade.config.stages == (plan.student(stage),)
    before, finished = random_unet(stage).state_dict(), runs.state(tmp_path / "8-finished")["ema"]
    for name, value in cascade.unets[0].state_dict().items():
        torch.testing.assert_close(value, (before[name] + finished[f"module.{name}"]) / 2)


def test_a_network_without_a_phase_is_the_one_it_began_with(
    tiny_stage: Stage, random_unet: Unet, tmp_path: Path
) -> None:
    unet = random_unet(tiny_stage())
    assert NetworkTraining("8", tiny_stage(), {}, lambda: unet).trained(tmp_path).unet is unet
    with pytest.raises(ConfigError, match="the stage of 8 px has no phase of training"):
        NetworkTraining("8", tiny_stage(), {}).trained(tmp_path)
