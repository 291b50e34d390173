from collections.abc import Callable

import pytest
import torch

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, UnetConfig
from urcdm import Level, Urcdm, UrcdmConfig
from wsi_tiling import TissueRule

LEVELS = (Level("low", 256, 16), Level("medium", 64, 16), Level("high", 16, 16))
MakeModel = Callable[..., Urcdm]


SAMPLING = SamplingConfig(steps=3, method="dpmpp_2m", lowres_noise=0.1)


def tiny_stage(
    image_px: int, lowres_px: int | None, cond_images_channels: int, sampling: SamplingConfig = SAMPLING
) -> StageConfig:
    unet = UnetConfig(
        dim=8,
        dim_mults=(1,),
        cond_dim=8,
        layer_attns=False,
        layer_cross_attns=False,
        attn_heads=2,
        attn_dim_head=8,
        attend_at_middle=False,
        init_cross_embed=False,
        init_conv_kernel_size=3,
        cond_images_channels=cond_images_channels,
    )
    return StageConfig(image_px=image_px, unet=unet, lowres_px=lowres_px, sampling=sampling)


def tiny_cascades(channels: int, sampling: SamplingConfig = SAMPLING) -> list[CascadeConfig]:
    return [
        CascadeConfig((tiny_stage(8, None, 0, sampling), tiny_stage(16, 8, 0, sampling))),
        # with a base model of its own
        CascadeConfig((tiny_stage(8, None, channels, sampling), tiny_stage(16, 8, channels, sampling))),
        CascadeConfig((tiny_stage(16, 4, channels, sampling),)),  # from its parent's own pixels
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
