"""The network of a stage from its configuration."""

from torch import nn

from cdm_core.config import StageConfig


def build_unet(config: StageConfig) -> nn.Module:
    """Makes the network of a stage, with fresh weights.

    Its forward takes x_t, (B, 3, S, S), and log_snr(t), (B,); as keywords what `Conditions.of_network` gives.

    Raises:
        ConfigError: The installed imagen-pytorch makes no network of that width, or the stage is a latent one and
            diffusers is not installed.
    """
    return config.unet.build(enlarges=config.lowres_px is not None, extra_images=int(config.guidance_input is not None))
