"""Networks from their configurations."""

import contextlib
import io

from pydantic import TypeAdapter
from torch import nn

from cdm_core.config import StageConfig, UnetConfig
from cdm_core.imagen_offline import unet_class


def build_unet(config: StageConfig) -> nn.Module:
    """Makes the network of a stage, with fresh weights.

    Its forward takes x_t, (B, 3, S, S), and log_snr(t), (B,); as keywords `lowres_cond_img`, (B, 3, S, S), with
    `lowres_noise_times`, (B,), the log-SNR of that image, and `cond_images`, (B, C, S, S), where the stage has them.
    """
    arguments = TypeAdapter(UnetConfig).dump_python(config.unet)
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints advice on small networks
        return unet_class()(**arguments, cond_on_text=False, lowres_cond=config.lowres_px is not None)
