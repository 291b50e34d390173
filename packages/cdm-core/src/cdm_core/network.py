"""Networks from their configurations."""

import contextlib
import io
from types import ModuleType

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from cdm_core.config import StageConfig, UnetConfig
from cdm_core.imagen_offline import imagen_module


def build_unet(config: StageConfig) -> nn.Module:
    """Makes the network of a stage, with fresh weights.

    Its forward takes x_t, (B, 3, S, S), and log_snr(t), (B,); as keywords what `Conditions.of_network` gives.
    """
    module = imagen_module()
    _let_each_image_drop_its_embedding(module)
    arguments = TypeAdapter(UnetConfig).dump_python(config.unet)
    conditioned = config.unet.text_embed_dim is not None
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints advice on small networks
        unet: nn.Module = module.Unet(**arguments, cond_on_text=conditioned, lowres_cond=config.lowres_px is not None)
    return unet


def _let_each_image_drop_its_embedding(module: ModuleType) -> None:
    """Lets the U-Net's `cond_drop_prob` be a tensor: 1 for the images without their embedding, 0 for the others.

    The library draws from a probability only, with the global generator; a number still means that.
    """
    by_probability = module.prob_mask_like
    if hasattr(by_probability, "takes_tensors"):
        return

    def prob_mask_like(shape: tuple[int, ...], prob: float | Tensor, device: torch.device) -> Tensor:
        mask: Tensor = prob > 0.5 if isinstance(prob, Tensor) else by_probability(shape, prob, device)
        return mask

    vars(prob_mask_like)["takes_tensors"] = True
    vars(module)["prob_mask_like"] = prob_mask_like
