"""Widening: a trained network gets further inputs, which it ignores until it is trained with them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from cdm_core.config import LatentUnetConfig, StageConfig
from cdm_core.stages.build import build_unet


def widen(config: StageConfig, unet: nn.Module, channels: int) -> tuple[StageConfig, nn.Module]:
    """Adds channels to the images that a network is conditioned on, after those that it has.

    Their weights are zero, so that the network's output does not depend on them and is what it was; training moves them
    from there, as all others.

    Args:
        config: The stage.
        unet: Its network; it stays as it is.
        channels: How many to add.

    Returns:
        The stage with `cond_images_channels` raised, and its network, a copy on the same device, in the same precision
        and mode.

    Raises:
        ValueError: No channel to add, or the network is not the stage's.
    """
    if channels < 1:
        raise ValueError(f"channels to add are at least 1, got {channels}")
    had = config.unet.cond_images_channels
    wider = replace(config, unet=replace(config.unet, cond_images_channels=had + channels))
    return wider, _widened(config, wider, unet, channels)


def with_guidance_input(config: StageConfig, wider: StageConfig, unet: nn.Module) -> nn.Module:
    """Returns the network of a stage with `guidance_input`, which does what one of a stage without it did.

    Args:
        config: The stage without it.
        wider: The same with it.
        unet: The network of the first; it stays as it is.

    Raises:
        ValueError: The network is not the stage's.
    """
    return _widened(config, wider, unet, 1)


def with_final_residual(config: StageConfig, unet: nn.Module) -> tuple[StageConfig, nn.Module]:
    """Gives the last layers of a network its input at full resolution, `init_conv_to_final_conv_residual`.

    A memory-efficient network halves its input at once, and a fine part of the noise is lost on the way; in few steps
    it stays in the image as a grain. The new weights are zero, but the layers' norm is that of old and new features
    together, so the network does nearly what it did, and is to be trained on.

    Args:
        config: The stage.
        unet: Its network; it stays as it is.

    Returns:
        The stage with the residual, and its network, a copy on the same device; both as they are if they have it.

    Raises:
        ValueError: The network is a latent stage's or not the stage's.
    """
    if isinstance(config.unet, LatentUnetConfig):
        raise ValueError("a latent stage has no final residual")
    if config.unet.init_conv_to_final_conv_residual:
        return config, unet
    wider = replace(config, unet=replace(config.unet, init_conv_to_final_conv_residual=True))
    with torch.device("meta"):
        grown = build_unet(wider)
    device = next(unet.parameters()).device
    tensors, width = unet.state_dict(), config.unet.dim
    for name, value in grown.state_dict().items():
        old = tensors.get(name)
        if old is None or old.shape != value.shape:
            if not name.startswith("final_res_block."):
                raise ValueError(f"the network is not the one of the stage of {config.image_px} px")
            tensors[name] = _with_final_inputs(name, old, torch.zeros(value.shape, device=device), width)
    grown.load_state_dict(tensors, assign=True)
    for parameter in grown.parameters():
        parameter.requires_grad_()
    return wider, grown.train(unet.training)


def _with_final_inputs(name: str, old: Tensor | None, new: Tensor, width: int) -> Tensor:
    """Fills the weights of the final block, given as zeros, of which the first inputs are the old ones."""
    if name.endswith("res_conv.weight"):  # a block with as many outputs as inputs has none
        new[:, :width, 0, 0] = torch.eye(len(new), width, device=new.device)
    elif old is not None and "norm" in name:
        new += 1
        new[:width] = old
    elif old is not None:
        new[:, :width] = old
    return new


def _widened(config: StageConfig, wider: StageConfig, unet: nn.Module, channels: int) -> nn.Module:
    """Returns a copy of a network with so many images more, after those that it is conditioned on."""
    first, at, inputs = config.unet.added_inputs(channels)
    with torch.device("meta"):  # shapes only: no weights to draw and throw away
        widened = build_unet(wider)
    tensors = {
        name: _with_zeros(value, at, inputs) if name.startswith(first) and name.endswith("weight") else value.clone()
        for name, value in unet.state_dict().items()
    }
    shapes = {name: value.shape for name, value in widened.state_dict().items()}
    if {name: value.shape for name, value in tensors.items()} != shapes:
        raise ValueError(f"the network is not the one of the stage of {config.image_px} px")
    widened.load_state_dict(tensors, assign=True)
    for new, old in zip(widened.parameters(), unet.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return widened.train(unet.training)


def _with_zeros(weight: Tensor, at: int, channels: int) -> Tensor:
    """Inserts zeros before an input channel of a convolution's weight, (out, in, h, w)."""
    zeros = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    return torch.cat((weight[:, :at], zeros, weight[:, at:]), dim=1)
