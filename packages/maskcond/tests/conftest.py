from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maskcond import Instances

if TYPE_CHECKING:
    from cdm_core import Cascade

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def kumar_folder() -> Path:
    if not (REAL_DATA / "kumar").is_dir():
        pytest.skip(f"no real data at {REAL_DATA}")
    return REAL_DATA / "kumar"


@pytest.fixture
def nuclei() -> Instances:
    """Some fifty nuclei, many of which touch, some cut by the edge, 160 x 200 px."""
    generator = np.random.default_rng(5)
    rows, cols = np.indices((160, 200))
    instances = np.zeros((160, 200), np.int32)
    for number in range(1, 61):
        row, col, tall, wide = generator.uniform((0, 0, 6, 6), (160, 200, 14, 14))
        instances[((rows - row) / tall) ** 2 + ((cols - col) / wide) ** 2 < 1] = number
    return instances


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads that wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_cascade(one_thread: None) -> "Callable[..., Cascade]":
    """Makes a cascade of 8 px, then 16 px, of random weights; keywords are `UnetConfig`'s."""
    import torch  # takes seconds to import, which tests of masks need not wait for
    from torch import nn

    from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, UnetConfig, build_unet

    def make(**unet: Any) -> Cascade:
        values = {
            "dim": 8,
            "dim_mults": (1,),
            "cond_dim": 8,
            "layer_attns": False,
            "layer_cross_attns": False,
            "attn_heads": 2,
            "attn_dim_head": 8,
            "init_cross_embed": False,
            **unet,
        }
        sampling = SamplingConfig(3, "dpmpp_2m")
        base = StageConfig(8, UnetConfig(**values), sampling=sampling)
        upper = StageConfig(16, UnetConfig(**values), lowres_px=8, sampling=sampling)
        unets = []
        for stage in (base, upper):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stage.image_px)
                network = build_unet(stage)
                for parameter in network.parameters():
                    if not parameter.any():  # a fresh network ends in zeros
                        nn.init.normal_(parameter, std=0.1)
            unets.append(network)
        return Cascade(CascadeConfig((base, upper)), unets, {"data": "noise"})

    return make
