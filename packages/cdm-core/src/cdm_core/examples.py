"""Training examples: what a data set gives, and what a stage takes of it."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_core.config import StageConfig


class Examples(Protocol):
    """Training data: the n-th draw is always the same example, so that a resumed run sees what it would have seen.

    An example has `image`, (3, S, S), of the stage's size or larger; `cond_images`, (C, S, S), for a stage that is
    conditioned on images; `lowres`, (3, s, s), where the low-resolution image is not the image made smaller; and
    `embedding`, (D,), for a stage that has one. Where some examples have no embedding, all say so in
    `embedding_given`, a bool (), and those without have zeros. Images are in [0, 1]. What a stage is not conditioned on
    is left out, so that one data set serves every stage of a cascade.
    """

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw; draws count from 0 without an end."""
        ...


def stage_image(config: StageConfig, batch: dict[str, Tensor]) -> Tensor:
    """Returns the image of a batch at the stage's size, (B, 3, S, S) in [0, 1]; a larger one is averaged down.

    Raises:
        ValueError: The image is smaller than the stage's, or no square.
    """
    image = batch["image"]
    side = config.image_px
    if image.shape[2] != image.shape[3] or image.shape[3] < side:
        raise ValueError(f"wanted square images of {side} px or more, got {image.shape[3]} x {image.shape[2]}")
    return image if image.shape[3] == side else F.interpolate(image, side, mode="area")


def small_image(config: StageConfig, batch: dict[str, Tensor]) -> Tensor | None:
    """Returns the low-resolution image of a batch, (B, 3, s, s) in [0, 1], or None for a base model."""
    if config.lowres_px is None:
        return None
    if "lowres" in batch:
        return batch["lowres"]
    return F.interpolate(batch["image"], config.lowres_px, mode="area")


def stage_cond_images(config: StageConfig, batch: dict[str, Tensor]) -> Tensor | None:
    """Returns the images that a stage is conditioned on at its size, (B, C, S, S) in [0, 1], or None if it is not.

    Raises:
        ValueError: There are none, or of another number of channels.
    """
    channels, side = config.unet.cond_images_channels, config.image_px
    if not channels:
        return None
    images = batch.get("cond_images")
    if images is None or images.shape[1] != channels:
        found = "none" if images is None else str(images.shape[1])
        raise ValueError(f"the stage of {side} px takes {channels} channels of cond_images, the example has {found}")
    if images.shape[2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)  # as Cascade.sample does


def stage_embedding(config: StageConfig, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Returns the embeddings of a batch, (B, D), and which are given, (B,) bool; None for a stage that takes none.

    Raises:
        ValueError: There are none, or of another width.
    """
    width = config.unet.text_embed_dim
    if width is None:
        return None
    embedding = batch.get("embedding")
    if embedding is None or embedding.shape[1] != width:
        found = "none" if embedding is None else f"one of {embedding.shape[1]}"
        raise ValueError(f"the stage of {config.image_px} px takes an embedding of {width}, the example has {found}")
    given = batch.get("embedding_given", torch.ones(len(embedding), dtype=torch.bool, device=embedding.device))
    return embedding.float(), given.bool()
