"""The U-Net of imagen-pytorch as the network of a stage: its configuration, which builds it."""

import contextlib
import io
from types import ModuleType
from typing import ClassVar

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from cdm_core.config_file import STRICT, check_counts, one_line_errors
from cdm_core.errors import ConfigError
from cdm_core.networks.family import family_of_version, installed_version
from cdm_core.networks.fused import fuse
from cdm_core.networks.imagen_offline import imagen_module

GROUPS = 8
"""Of the group norms that networks of imagen-pytorch 1 have."""


@one_line_errors
@dataclass(frozen=True, config=STRICT)
class UnetConfig:
    """Hyperparameters of `imagen_pytorch.Unet`, under that library's names; what is not here keeps its default there.

    Args:
        dim: Channels at full resolution.
        dim_mults: Channels of each resolution, as multiples of dim.
        cond_dim: Width of the condition tokens.
        num_resnet_blocks: Residual blocks of each resolution.
        layer_attns: Self-attention at each resolution.
        layer_cross_attns: Attention to the condition tokens at each resolution.
        attn_heads: Attention heads.
        attn_dim_head: Channels of a head.
        attend_at_middle: Attention at the lowest resolution.
        memory_efficient: Halve the resolution before the blocks of a level rather than after.
        init_conv_to_final_conv_residual: Carry the first convolution's result to the last block.
        init_cross_embed: Three kernel sizes (3, 7, 15) in the first convolution; slow on a CPU.
        init_conv_kernel_size: Kernel of the first convolution without init_cross_embed.
        cond_images_channels: Channels of the images to condition on (contexts, masks).
        text_embed_dim: Width of an embedding to condition on, which need not be text (a tissue type, say); None for
            none.
    """

    dim: int
    dim_mults: tuple[int, ...] = (1, 2, 4, 8)
    cond_dim: int | None = None
    num_resnet_blocks: int | tuple[int, ...] = 1
    layer_attns: bool | tuple[bool, ...] = True
    layer_cross_attns: bool | tuple[bool, ...] = True
    attn_heads: int = 8
    attn_dim_head: int = 64
    attend_at_middle: bool = True
    memory_efficient: bool = False
    init_conv_to_final_conv_residual: bool = False
    init_cross_embed: bool = True
    init_conv_kernel_size: int = 7
    cond_images_channels: int = 0
    text_embed_dim: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "dim", "attn_heads", "attn_dim_head", "cond_dim", "text_embed_dim")
        levels = len(self.dim_mults)
        if not levels or min(self.dim_mults) < 1:
            raise ValueError(f"dim_mults has a number of at least 1 for each resolution, got {self.dim_mults}")
        for name in ("num_resnet_blocks", "layer_attns", "layer_cross_attns"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels:
                raise ValueError(f"{name} has a value for each of {levels} resolutions, as dim_mults, got {len(value)}")
        blocks = self.num_resnet_blocks if isinstance(self.num_resnet_blocks, tuple) else (self.num_resnet_blocks,)
        if min(blocks) < 1:
            raise ValueError(f"num_resnet_blocks is at least 1, got {self.num_resnet_blocks}")
        if self.init_conv_kernel_size < 1 or self.init_conv_kernel_size % 2 == 0:
            raise ValueError(f"init_conv_kernel_size is odd, got {self.init_conv_kernel_size}")
        if self.cond_images_channels < 0:
            raise ValueError(f"cond_images_channels is at least 0, got {self.cond_images_channels}")

    in_latents: ClassVar[bool] = False

    @property
    def factor(self) -> int:
        """The side of an image must be a multiple of this: the network halves it that often."""
        return int(2 ** (len(self.dim_mults) - (0 if self.memory_efficient else 1)))

    @property
    def shrinks_by(self) -> int:
        """Pixels of an image along a side for each value that is sampled."""
        return 1

    def check_stage(self, image_px: int, lowres_px: int | None, threshold: str) -> None:
        """Checks that a stage of such images can have this network.

        Raises:
            ValueError: It cannot; the message advises what to change.
        """
        if image_px % self.factor:
            raise ValueError(
                f"image_px {image_px} is no multiple of {self.factor}: the network with dim_mults {self.dim_mults} "
                f"halves it {self.factor.bit_length() - 1} times; change one of them"
            )

    def sample_shape(self, image_px: int) -> tuple[int, int, int]:
        """Returns the shape of what is sampled for an image: the image's."""
        return 3, image_px, image_px

    def added_inputs(self, channels: int) -> tuple[str, int, int]:
        """Returns where so many channels of images to condition on are added, after those that there are.

        Returns:
            The beginning of the names of the first convolution's tensors, one or several of different kernel sizes;
            the input channel before which they are put: it takes the images to condition on, then x_t, then the
            low-resolution image; and how many input channels they are.
        """
        return "init_conv.", self.cond_images_channels, channels

    def build(self, *, enlarges: bool, extra_images: int = 0) -> nn.Module:
        """Makes the network, with fresh weights.

        Args:
            enlarges: Whether it takes a low-resolution image.
            extra_images: One-channel images that it takes besides those of `cond_images_channels`.

        Raises:
            ConfigError: The installed imagen-pytorch makes no network of that width.
        """
        if self.dim % GROUPS and family_of_version(installed_version()) != "2":
            raise ConfigError(f"unet.dim {self.dim}: imagen-pytorch {installed_version()} wants a multiple of {GROUPS}")
        module = imagen_module()
        _let_each_image_drop_its_embedding(module)
        arguments = TypeAdapter(UnetConfig).dump_python(self)
        arguments["cond_images_channels"] += extra_images
        conditioned = self.text_embed_dim is not None
        with contextlib.redirect_stdout(io.StringIO()):  # the library prints advice on small networks
            unet: nn.Module = module.Unet(**arguments, cond_on_text=conditioned, lowres_cond=enlarges)
        return fuse(unet)

    def encode(self, unet: nn.Module, images: Tensor) -> Tensor:
        """Returns what is noised and sampled of images in [-1, 1], (B, 3, S, S): they themselves."""
        return images

    def decode(self, unet: nn.Module, x: Tensor) -> Tensor:
        """Returns the images of what was sampled."""
        return x

    def freeze_unused(self, unet: nn.Module) -> None:
        """Freezes what the library has for embeddings, in a network that takes none.

        These weights would get no gradient, and processes that share a step wait for the gradient of every weight.
        """
        if self.text_embed_dim is None:
            for name, parameter in unet.named_parameters():
                if name.startswith(("attn_pool.", "null_text_")):
                    parameter.requires_grad_(False)


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
