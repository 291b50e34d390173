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
    # takes seconds to import, which tests of masks need not wait for
    from cdm_core import Cascade, CascadeConfig
    from cdm_core.testing.tiny import random_unet, tiny_stage

    def make(**unet: Any) -> Cascade:
        shape = {"attend_at_middle": True, "init_conv_kernel_size": 7, **unet}
        stages = tiny_stage(8, **shape), tiny_stage(16, 8, **shape)
        unets = [random_unet(stage, seed=stage.image_px) for stage in stages]
        return Cascade(CascadeConfig(stages), unets, {"data": "noise"})

    return make
