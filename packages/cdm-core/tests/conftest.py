from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, UnetConfig, build_unet

TINY: dict[str, Any] = {
    "dim": 8,
    "dim_mults": (1, 2),
    "cond_dim": 8,
    "layer_attns": False,
    "layer_cross_attns": False,
    "attn_heads": 2,
    "attn_dim_head": 8,
    "attend_at_middle": False,
    "init_cross_embed": False,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_stage() -> Callable[..., StageConfig]:
    """Makes the configuration of a stage that takes milliseconds a step; keywords are `StageConfig`'s."""

    def make(unet: dict[str, Any] | None = None, **stage: Any) -> StageConfig:
        values = {"image_px": 8, "sampling": SamplingConfig(steps=4), **stage}
        return StageConfig(unet=UnetConfig(**{**TINY, **(unet or {})}), **values)

    return make


@pytest.fixture(scope="session")
def random_unet() -> Callable[..., nn.Module]:
    """Makes a network that predicts something: a fresh one starts with zeros in its last convolution."""

    def make(config: StageConfig, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = build_unet(config)
            for parameter in unet.parameters():
                if not parameter.any():
                    nn.init.normal_(parameter, std=0.1)
        return unet.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def generators() -> Callable[..., list[torch.Generator]]:
    """Makes one generator for each seed."""

    def make(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    return make


@pytest.fixture
def cascade(tiny_stage: Callable[..., StageConfig], random_unet: Callable[..., nn.Module]) -> Cascade:
    """8 px, then 16 px, with random weights."""
    config = CascadeConfig((tiny_stage(), tiny_stage(image_px=16, lowres_px=8, objective="noise", schedule="linear")))
    return Cascade(config, [random_unet(stage, seed=i) for i, stage in enumerate(config.stages)], {"steps": 7})


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """Makes standard normal noise of a shape, always the same."""

    def make(*shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(99))

    return make
