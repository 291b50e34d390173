from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cdm_core.stages.pictures
from cdm_core import SamplingConfig, StageConfig
from cdm_core.stages.pictures import SHEET_STEPS, save_sample_sheet, sheet_stage

Stage = Callable[..., StageConfig]


@pytest.mark.parametrize(
    ("sampling", "method", "steps"),
    [
        (SamplingConfig(1024, "ddpm", threshold="dynamic"), "dpmpp_2m", SHEET_STEPS),
        (SamplingConfig(4, "ddim"), "ddim", 4),
        (SamplingConfig(250, "ddim", eta=0.5), "ddim", SHEET_STEPS),
    ],
)
def test_sheets_take_few_steps_without_fresh_noise(
    tiny_stage: Stage, sampling: SamplingConfig, method: str, steps: int
) -> None:
    drawn = sheet_stage(tiny_stage(sampling=sampling)).sampling
    assert (drawn.method, drawn.steps, drawn.eta) == (method, steps, 0)
    assert drawn.threshold == sampling.threshold


def test_a_sheet_in_bf16_leaves_the_network_as_it_is(
    tiny_stage: Stage, random_unet: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, used = tiny_stage(), []
    unet, batch = random_unet(config), {"image": torch.rand(2, 3, 8, 8)}
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    sample = cdm_core.stages.pictures.sample_stage

    def watched(network: nn.Module, *arguments: Any, **options: Any) -> torch.Tensor:
        used.append(next(layer.weight.dtype for layer in network.modules() if isinstance(layer, nn.Conv2d)))
        return sample(network, *arguments, **options)

    monkeypatch.setattr(cdm_core.stages.pictures, "sample_stage", watched)
    save_sample_sheet(tmp_path / "sheet.png", unet, config, batch, precision="bf16")
    save_sample_sheet(tmp_path / "plain.png", unet, config, batch)
    assert used == [torch.bfloat16, torch.float32]
    for name, value in unet.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
