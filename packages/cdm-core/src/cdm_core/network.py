"""Networks from their configurations, and weights into networks."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from types import ModuleType

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from cdm_core.config import LatentUnetConfig, StageConfig, UnetConfig
from cdm_core.errors import CheckpointError, ConfigError
from cdm_core.family import family_of_tensors, family_of_version, installed_version, require_family
from cdm_core.fused import fuse
from cdm_core.imagen_offline import imagen_module

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
        from cdm_core.latent import LatentUnet  # diffusers takes seconds, which other stages need not wait for

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


def fill_unet(unet: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies weights into a network, strictly.

    Args:
        unet: The network.
        tensors: By their names in the network.
        source: What they were read from, for the error's text.

    Raises:
        CheckpointError: As of `check_tensors`, or a value is not finite.
    """
    tensors = check_tensors(unet, tensors, source)
    check_weights_finite(tensors, source)
    unet.load_state_dict(tensors)


def check_tensors(unet: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Checks that weights are a network's, by names and shapes.

    Args:
        unet: The network, which may be on the meta device.
        tensors: By their names in the network; names of a compiled or data-parallel network will do.
        source: What they were read from, for the error's text.

    Returns:
        The tensors by their plain names.

    Raises:
        CheckpointError: A tensor is missing, surplus or of another shape, or they are of another version's networks.
    """
    plain = plain_tensors(tensors, source)
    if (family := family_of_tensors(plain)) is not None:
        require_family(family, source)
    prefixes = {part for name in tensors for part in name.split(".") if part in WRAPPERS}
    advice = "the weights are of another network"
    if prefixes:
        advice += f", also without the '{'.'.join(sorted(prefixes))}.' of a compiled or data-parallel one"
    wanted = unet.state_dict()
    for name in sorted(wanted.keys() | plain.keys()):
        if name not in plain:
            raise CheckpointError(f"{source}: tensor {name!r} is missing; {advice}")
        if name not in wanted:
            raise CheckpointError(f"{source}: tensor {name!r} is not the network's; {advice}")
        if wanted[name].shape != plain[name].shape:
            shapes = f"{tuple(plain[name].shape)}, the network has {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{source}: tensor {name!r} is {shapes}; {advice}")
    return plain


def plain_name(name: str) -> str:
    """Returns a tensor's name without what `torch.compile` and data-parallel wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def plain_tensors(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Returns tensors by their plain names.

    Raises:
        CheckpointError: Two have the same one.
    """
    plain = {plain_name(name): value for name, value in tensors.items()}
    if len(plain) != len(tensors):
        raise CheckpointError(f"{source}: has tensors both with and without {' or '.join(WRAPPERS)} in their names")
    return plain


def check_weights_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks that the floating-point numbers of weights are finite.

    Raises:
        CheckpointError: A value is not; the message names the tensor.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value.float()).all():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{source}: tensor {name!r} has values that are not finite in {kind}")


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
