"""The context of a patch: the parent's image around it and, at full resolution, the part that the patch enlarges."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from urcdm.config import Level, UrcdmConfig
from urcdm.layout.geometry import Box, context_box

ReadBox = Callable[[Box, int], NDArray[np.uint8]]
"""Reads a box of the parent's image, in its pixels, at a side in pixels: (side, side, 3); fill outside."""


@dataclass(frozen=True)
class Context:
    """The conditions of one patch at one stage.

    Args:
        images: (S, S, C) uint8 at the stage's resolution: the parent around the patch, then its centre if used.
        centre: The part of the parent that the patch enlarges, (s, s, 3) uint8, where a stage starts from it.
    """

    images: NDArray[np.uint8]
    centre: NDArray[np.uint8] | None


def read_context(
    read: ReadBox,
    centre_px: tuple[float, float],
    config: UrcdmConfig,
    parent: Level,
    level: Level,
    stage_px: int,
    lowres_px: int | None,
) -> Context:
    """Reads the context of a patch from its parent's image; the same for training and for sampling.

    Args:
        read: Reads the parent's image.
        centre_px: Centre of the patch in the parent's pixels.
        config: The ultra-resolution cascade.
        parent: The level above.
        level: The patch's level.
        stage_px: Side of the stage's images.
        lowres_px: Side of the image that the stage enlarges, if that is the parent's own.
    """
    around = context_box(centre_px, parent.image_px)
    centre = context_box(centre_px, level.field_l0 / parent.scale)
    boxes = (around, centre) if config.context == "centre" else (around,)
    images = np.concatenate([read(box, stage_px) for box in boxes], axis=2)
    return Context(images, None if lowres_px is None else read(centre, lowres_px))
