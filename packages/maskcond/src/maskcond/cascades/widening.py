"""Widening: makes a mask-conditioned cascade from a trained unconditional one."""

from dataclasses import replace

import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, StageConfig, build_unet, widen
from cdm_core.networks.weights import seeded_weights
from maskcond.cascades.mask_cascade import MaskCascade, MaskInput
from maskcond.cascades.mask_channels import Shows
from maskcond.conditions import ConditionSet
from maskcond.masks.classes import ClassSet


def widen_for_masks(
    cascade: Cascade, classes: ClassSet, conditions: ConditionSet | None = None, shows: Shows | None = None
) -> MaskCascade:
    """Adds the channels of masks to every stage, and layers for the embedding of conditions if there are none.

    The weights of the channels are zero, so before any training with masks the images do not depend on masks and equal
    those of the unconditional cascade. The same holds for conditions if the unconditional cascade was trained with an
    embedding of that width (`text_embed_dim`) that was always the null embedding. Otherwise, see `add_embedding`, the
    samples change somewhat, and training has to make up for it.

    Args:
        cascade: The unconditional cascade, which does not change.
        classes: Classes of the masks.
        conditions: Conditions besides the mask; None for none.
        shows: What the channels of the masks show, see `MaskChannels`; None: the classes.

    Raises:
        ValueError: The cascade has an embedding of another width than the conditions', or already sees images, or
            the classes cannot be shown so.
    """
    channels = MaskInput.of(classes, conditions, shows).channels
    configs: list[StageConfig] = []
    unets: list[nn.Module] = []
    for config, unet in zip(cascade.config.stages, cascade.unets, strict=True):
        if config.unet.cond_images_channels:
            raise ValueError(f"the stage of {config.image_px} px is conditioned on images already; use another cascade")
        if conditions is not None and config.unet.text_embed_dim is None:
            config, unet = add_embedding(config, unet, conditions.width)
        wider, widened = widen(config, unet, channels.count)
        configs.append(wider)
        unets.append(widened)
    return MaskCascade(classes, Cascade(CascadeConfig(tuple(configs)), unets), conditions, cascade.provenance, shows)


@torch.no_grad()
def add_embedding(config: StageConfig, unet: nn.Module, width: int) -> tuple[StageConfig, nn.Module]:
    """Adds the layers of an embedding to a network without one, so that its output changes as little as possible.

    The term that the embedding adds to the time at every block starts at zero, with or without an embedding. But the
    network also attends to the embedding's tokens. Attention distributes its weight over all tokens, and its keys have
    a fixed length, so no weights of the new layers exclude these tokens, and the output cannot stay exactly the same.
    The output of the built-in model's base network changes by 7 to 19 % (root mean square, at eight noise levels); with
    the layers' usual initial weights it would change by 8 to 69 %.

    Args:
        config: The stage.
        unet: Network of the stage, which does not change.
        width: Width of the embedding.

    Returns:
        The stage with `text_embed_dim`, and its network, on the same device and in the same mode.

    Raises:
        ValueError: The network has an embedding, or does not belong to the stage.
    """
    if config.unet.text_embed_dim is not None:
        raise ValueError(f"the stage of {config.image_px} px has an embedding already")
    embedded = replace(config, unet=replace(config.unet, text_embed_dim=width))
    with seeded_weights(0):
        new = build_unet(embedded)
    old, fresh = unet.state_dict(), new.state_dict()
    if missing := [name for name in old if name not in fresh or fresh[name].shape != old[name].shape]:
        raise ValueError(f"the network is not the one of the stage of {config.image_px} px: {missing[0]}")
    new.load_state_dict({**fresh, **old})
    last = new.get_submodule("to_text_non_attn_cond")[-1]  # type: ignore[index]
    for parameter in (last.weight, last.bias, new.get_parameter("null_text_hidden")):
        parameter.zero_()
    first = next(unet.parameters())
    for added, original in zip(new.parameters(), _original_parameters(new, unet), strict=True):
        added.requires_grad_(first.requires_grad if original is None else original.requires_grad)
    return embedded, new.to(first.device, first.dtype).train(unet.training)


def _original_parameters(new: nn.Module, old: nn.Module) -> list[nn.Parameter | None]:
    """The old network's parameter for each parameter of the new one; None for added ones."""
    known = dict(old.named_parameters())
    return [known.get(name) for name, _ in new.named_parameters()]
