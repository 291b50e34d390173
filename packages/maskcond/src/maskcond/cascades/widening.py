"""A mask-conditioned cascade from a trained unconditional one."""

from dataclasses import replace

import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, StageConfig, build_unet, widen
from cdm_core.networks.weights import seeded_weights
from maskcond.cascades.mask_cascade import MaskCascade
from maskcond.conditions import ConditionSet
from maskcond.masks.classes import ClassSet


def widen_for_masks(cascade: Cascade, classes: ClassSet, conditions: ConditionSet | None = None) -> MaskCascade:
    """Adds the channels of masks to every stage, and layers for the embedding of conditions where there are none.

    The weights of the channels are zero: images do not depend on masks, and are those of the unconditional cascade,
    until the networks are trained with masks. So they are with conditions, if the unconditional cascade was trained
    with an embedding of that width (`text_embed_dim`) that was never given. Otherwise see `add_embedding`: what the
    cascade draws changes somewhat, and training has to make up for it.

    Args:
        cascade: The unconditional cascade; it stays as it is.
        classes: Of the masks.
        conditions: What else the cascade is to be told; None for nothing.

    Raises:
        ValueError: The cascade has an embedding of another width than the conditions', or already sees images.
    """
    configs: list[StageConfig] = []
    unets: list[nn.Module] = []
    for config, unet in zip(cascade.config.stages, cascade.unets, strict=True):
        if config.unet.cond_images_channels:
            raise ValueError(f"the stage of {config.image_px} px sees images already; masks would be taken for more")
        if conditions is not None and config.unet.text_embed_dim is None:
            config, unet = add_embedding(config, unet, conditions.width)
        wider, widened = widen(config, unet, len(classes.classes) + 1)
        configs.append(wider)
        unets.append(widened)
    return MaskCascade(classes, Cascade(CascadeConfig(tuple(configs)), unets), conditions, cascade.provenance)


@torch.no_grad()
def add_embedding(config: StageConfig, unet: nn.Module, width: int) -> tuple[StageConfig, nn.Module]:
    """Adds the layers of an embedding to a network without one, so that its output changes as little as it can.

    What the embedding adds at every block beside the time is zero at first, given or not. But the network also attends
    to its tokens, beside those of the time. Attention shares its weight out among all tokens, and its keys have a fixed
    length, so no weights of the new layers make it pass them over: the output cannot stay exactly as it was. That of
    the built-in model's base network changes by 7 to 19 % (root mean square, at eight noise levels); with the layers'
    usual fresh weights it would by 8 to 69 %.

    Args:
        config: The stage.
        unet: Its network; it stays as it is.
        width: Of the embedding.

    Returns:
        The stage with `text_embed_dim`, and its network, on the same device and in the same mode.

    Raises:
        ValueError: The network has an embedding, or is not the stage's.
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
    for added, had in zip(new.parameters(), _like(new, unet), strict=True):
        added.requires_grad_(first.requires_grad if had is None else had.requires_grad)
    return embedded, new.to(first.device, first.dtype).train(unet.training)


def _like(new: nn.Module, old: nn.Module) -> list[nn.Parameter | None]:
    """The old network's parameter of each name of the new one's."""
    known = dict(old.named_parameters())
    return [known.get(name) for name, _ in new.named_parameters()]
