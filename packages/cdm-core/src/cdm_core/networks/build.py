"""Networks from their configurations."""

import contextlib
import io
from collections.abc import Iterator
from types import ModuleType

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from cdm_core.config import LatentUnetConfig, StageConfig, UnetConfig
from cdm_core.errors import ConfigError
from cdm_core.networks.family import family_of_version, installed_version
from cdm_core.networks.fused import fuse
from cdm_core.networks.imagen_offline import imagen_module

GROUPS = 8
"""Of the group norms that networks of imagen-pytorch 1 have."""
WRAPPERS = ("_orig_mod", "module")
"""What `torch.compile`, and data-parallel wrappers, call the network inside them."""


def build_unet(config: StageConfig) -> nn.Module:
    """Makes the network of a stage, with fresh weights.

    Its forward takes x_t, (B, 3, S, S), and log_snr(t), (B,); as keywords what `Conditions.of_network` gives.

    Raises:
        ConfigError: The installed imagen-pytorch makes no network of that width, or the stage is a latent one and
            diffusers is not installed.
    """
    extra_images = int(config.guidance_input is not None)
    if isinstance(config.unet, LatentUnetConfig):
        from cdm_core.networks.latent import LatentUnet  # diffusers takes seconds, which other stages need not wait for

        return LatentUnet(config.unet, extra_images)
    if config.unet.dim % GROUPS and family_of_version(installed_version()) != "2":
        raise ConfigError(
            f"unet.dim {config.unet.dim}: imagen-pytorch {installed_version()} wants a multiple of {GROUPS}"
        )
    module = imagen_module()
    _let_each_image_drop_its_embedding(module)
    arguments = TypeAdapter(UnetConfig).dump_python(config.unet)
    arguments["cond_images_channels"] += extra_images
    conditioned = config.unet.text_embed_dim is not None
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints advice on small networks
        unet: nn.Module = module.Unet(**arguments, cond_on_text=conditioned, lowres_cond=config.lowres_px is not None)
    return fuse(unet)


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seeds the CPU's global generator, which fresh weights come from, within the block; after it, it is as before.

    `torch.manual_seed` would also seed the generators of GPUs, and leave them so.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


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
