"""Augmentation of the parent's image, which in sampling is generated and ends at the edge of its canvas."""

import numpy as np
import torch
from numpy.typing import NDArray

from cdm_core.stages.lowres import blurred
from urcdm.config import Level, UrcdmConfig

_DIRECTIONS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]


def augmented_parent(
    around: NDArray[np.uint8], config: UrcdmConfig, parent: Level, level: Level, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Blurs the parent's image around a patch, then fills it from one edge on, both at random.

    A network's context, its centre and its low-resolution image are all read from this one image, as in sampling. The
    same random numbers are used whatever the settings.

    Args:
        around: The parent's field around the patch's centre, at its size or smaller, (S, S, 3) uint8; not changed.
        config: The ultra-resolution cascade.
        parent: The level above.
        level: The patch's level.
        rng: Random generator.

    Returns:
        (S, S, 3) uint8.
    """
    blur_px, padded = config.max_context_blur * rng.random(), rng.random() < config.pad_augment
    (right, down), reach = _DIRECTIONS[rng.integers(len(_DIRECTIONS))], rng.random()
    if blur_px > 0:
        pixels = torch.from_numpy(around).permute(2, 0, 1)[None].float()
        around = blurred(pixels, torch.tensor([blur_px]))[0].permute(1, 2, 0).round().byte().numpy()
    if not padded:
        return around
    # A slide's first patches begin at its edge: half of the examples are filled right up to the patch.
    side = len(around)
    width = int(min(2 * reach, 1.0) * (side - level.field_l0 / (parent.field_l0 / side)) / 2)
    kept = (
        slice(width * (down < 0), side - width * (down > 0)),
        slice(width * (right < 0), side - width * (right > 0)),
    )
    filled = np.full_like(around, config.fill)
    filled[kept] = around[kept]
    return filled
