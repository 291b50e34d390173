"""Training examples: what a data set gives, and what a stage takes of it."""

from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_core.checks import NOISY_RANGE, check_finite, check_floats, check_shape, check_values
from cdm_core.config import StageConfig


class Examples(Protocol):
    """Training data: the n-th draw is always the same example, so that a resumed run sees what it would have seen.

    An example has `image`, (3, S, S), of the stage's size or larger; `cond_images`, (C, S, S), of the stage's size or
    the image's, for a stage that is conditioned on images; `lowres`, (3, s, s), where the low-resolution image is not
    the image made smaller; and `embedding`, (D,), for a stage that has one. Where some examples have no embedding, all
    say so in `embedding_given`, a bool (), and those without have zeros. Values are floating-point numbers, those of
    images in [0, 1]; only `cond_images` may leave it by noise. A stage ignores what it is not conditioned on, so
    that one data set serves every stage of a cascade.
    """

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw; draws count from 0 without an end."""
        ...


def check_example(config: StageConfig, example: object, *, finite: bool = True) -> dict[str, Tensor]:
    """Checks what a stage takes of an example, and returns that, without a batch dimension, in float32.

    Args:
        config: The stage.
        example: From a data set.
        finite: Refuse values that are not finite; else a step that has them is skipped and counted.

    Raises:
        ValueError: Something that the stage takes is missing, or has another type, shape or range.
    """
    if not isinstance(example, Mapping) or "image" not in example:
        kind = f"one with {', '.join(map(str, example))}" if isinstance(example, Mapping) else type(example).__name__
        raise ValueError(f"wanted a dictionary with 'image', got {kind or 'an empty one'}")
    image = check_floats("image", example["image"])
    check_shape("image", image, (3, "S", "S"), "convert it to RGB, channels first")
    check_values("image", image, finite=finite)
    checked = {"image": image}
    if config.lowres_px is not None and "lowres" in example:
        lowres = check_floats("lowres", example["lowres"])
        check_shape("lowres", lowres, (3, config.lowres_px, config.lowres_px))
        check_values("lowres", lowres, finite=finite)
        checked["lowres"] = lowres
    if config.unet.cond_images_channels and "cond_images" in example:
        images, side = check_floats("cond_images", example["cond_images"]), config.image_px
        check_shape("cond_images", images, ("C", "S", "S"))
        if images.shape[1:] not in ((side, side), image.shape[1:]):
            check_shape("cond_images", images, (config.unet.cond_images_channels, side, side))
        check_values("cond_images", images, low=NOISY_RANGE[0], high=NOISY_RANGE[1], finite=finite)
        checked["cond_images"] = images
    if config.unet.text_embed_dim is not None and "embedding" in example:
        checked["embedding"] = check_floats("embedding", example["embedding"])
        check_shape("embedding", checked["embedding"], ("D",))
        if finite:
            check_finite("embedding", checked["embedding"])
        if "embedding_given" in example:
            checked["embedding_given"] = torch.as_tensor(example["embedding_given"])
            check_shape("embedding_given", checked["embedding_given"], ())
    return checked


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
    """Returns the low-resolution image of a batch, (B, 3, s, s) in [0, 1], or None for a base model.

    Raises:
        ValueError: The batch has one of another shape.
    """
    if config.lowres_px is None:
        return None
    if "lowres" in batch:
        check_shape("lowres", batch["lowres"], ("B", 3, config.lowres_px, config.lowres_px))
        return batch["lowres"]
    return F.interpolate(batch["image"], config.lowres_px, mode="area")


def stage_cond_images(config: StageConfig, batch: dict[str, Tensor]) -> Tensor | None:
    """Returns the images that a stage is conditioned on at its size, (B, C, S, S) in [0, 1], or None if it is not.

    They are of the stage's size, or of the example's image's where that is larger.

    Raises:
        ValueError: There are none, or of another number of channels or another size.
    """
    channels, side = config.unet.cond_images_channels, config.image_px
    if not channels:
        return None
    images = batch.get("cond_images")
    if images is None or images.shape[1] != channels:
        given = "none" if images is None else str(images.shape[1])
        raise ValueError(f"the stage of {side} px takes {channels} channels of cond_images, the example has {given}")
    if images.shape[2:] == (side, side):
        return images
    if images.shape[2:] != batch["image"].shape[2:]:
        raise ValueError(
            f"cond_images: wanted {side} x {side} px, or the size of the image, got {images.shape[3]} x "
            f"{images.shape[2]} px; make them of one size"
        )
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
        shape = "none" if embedding is None else f"one of {embedding.shape[1]}"
        raise ValueError(f"the stage of {config.image_px} px takes an embedding of {width}, the example has {shape}")
    given = batch.get("embedding_given", torch.ones(len(embedding), dtype=torch.bool, device=embedding.device))
    return embedding.float(), given.bool()
