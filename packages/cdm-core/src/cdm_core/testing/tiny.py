"""Networks that take milliseconds a step and stages of them, for tests of what surrounds networks."""

from typing import Any

import torch
from torch import nn

from cdm_core import Betas, LatentUnetConfig, SamplingConfig, StageConfig, UnetConfig, build_unet


def tiny_unet(**changes: Any) -> UnetConfig:
    """Configures a U-Net without attention, of 8 channels; keywords are `UnetConfig`'s."""
    values: dict[str, Any] = {
        "dim": 8,
        "dim_mults": (1,),
        "cond_dim": 8,
        "layer_attns": False,
        "layer_cross_attns": False,
        "attn_heads": 2,
        "attn_dim_head": 8,
        "attend_at_middle": False,
        "init_cross_embed": False,
        "init_conv_kernel_size": 3,
    }
    return UnetConfig(**{**values, **changes})


def tiny_latent_unet(**changes: Any) -> LatentUnetConfig:
    """Configures a latent network in diffusers' form, of 2 px a latent; keywords are `LatentUnetConfig`'s."""
    both = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
    values: dict[str, Any] = {
        "unet": {
            "cross_attention_dim": 8,
            "attention_head_dim": 4,
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            **both,
        },
        "autoencoder": {
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            **both,
        },
        "betas": Betas("scaled_linear", 0.00085, 0.012),
    }
    return LatentUnetConfig(**{**values, **changes})


def tiny_stage(
    image_px: int = 8, lowres_px: int | None = None, sampling: SamplingConfig | None = None, **unet: Any
) -> StageConfig:
    """Configures a stage of a tiny U-Net.

    Args:
        image_px: Side of the images, in pixels.
        lowres_px: Side of the images that it takes to a higher resolution, in pixels; None for the first stage.
        sampling: How it samples; None for 3 steps of DPM-Solver++(2M).
        **unet: See `tiny_unet`.
    """
    return StageConfig(
        image_px, tiny_unet(**unet), lowres_px=lowres_px, sampling=sampling or SamplingConfig(3, "dpmpp_2m")
    )


def random_unet(config: StageConfig, seed: int = 0) -> nn.Module:
    """Makes the network of a stage with random weights, also where a fresh network has zeros: in its last layers.

    The state of torch's random generator stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = build_unet(config)
        for parameter in unet.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return unet
