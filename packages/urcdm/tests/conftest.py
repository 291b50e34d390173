from collections.abc import Callable

import pytest
import torch

from cdm_core import Cascade, CascadeConfig, SamplingConfig
from cdm_core.testing.tiny import tiny_stage
from urcdm import Level, Urcdm, UrcdmConfig
from wsi_tiling import TissueRule

LEVELS = (Level("low", 256, 16), Level("medium", 64, 16), Level("high", 16, 16))
MakeModel = Callable[..., Urcdm]


SAMPLING = SamplingConfig(steps=3, method="dpmpp_2m", lowres_noise=0.1)


def tiny_cascades(channels: int, sampling: SamplingConfig = SAMPLING) -> list[CascadeConfig]:
    given = {"cond_images_channels": channels}
    return [
        CascadeConfig((tiny_stage(8, sampling=sampling), tiny_stage(16, 8, sampling))),
        # with a base model of its own
        CascadeConfig((tiny_stage(8, sampling=sampling, **given), tiny_stage(16, 8, sampling, **given))),
        CascadeConfig((tiny_stage(16, 4, sampling, **given),)),  # from its parent's own pixels
    ]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Makes models of three magnifications and 16 px images with random weights."""

    def make(
        levels: tuple[Level, ...] = LEVELS,
        overlap: float = 0.125,
        tissue: TissueRule | None = None,
        context: str = "centre",
        weights: int = 0,
        sampling: SamplingConfig = SAMPLING,
    ) -> Urcdm:
        config = UrcdmConfig(
            levels, mpp=0.5, overlap=overlap, context=context, tissue=tissue or TissueRule.everything()
        )
        with torch.random.fork_rng():
            torch.manual_seed(weights)
            return Urcdm(config, [Cascade(cascade) for cascade in tiny_cascades(config.context_channels(1), sampling)])

    return make
