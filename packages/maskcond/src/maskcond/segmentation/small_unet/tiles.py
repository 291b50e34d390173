"""Images of any size through a network that takes tiles."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskcond.masks.arrays import Image, check_image


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis, evenly apart, so that neighbours share at least the overlap.

    Args:
        length: Of the axis, at least that of a tile.
        tile: Length of a tile.
        overlap: Smallest overlap of neighbours, below the length of a tile.
    """
    gaps = math.ceil((length - tile) / (tile - overlap))
    return [round(index * (length - tile) / gaps) for index in range(gaps + 1)] if gaps else [0]


def predict_tiled(
    image: Image,
    network: Callable[[Tensor], Tensor],
    *,
    classes: int,
    tile_px: int,
    multiple: int,
    device: torch.device,
) -> NDArray[np.float32]:
    """Calculates each class's share of every pixel; tiles overlap by a quarter, and count most in their middle.

    An image smaller than a tile goes through the network as it is, mirrored up to the next size that it takes.

    Args:
        image: (H, W, 3) uint8 RGB.
        network: From images (B, 3, h, w) in [-1, 1] to logits (B, C, h, w).
        classes: C, the background among them.
        tile_px: Side of a tile, a multiple of `multiple`.
        multiple: What the sides of the network's images are multiples of.
        device: The network's.

    Returns:
        (C, H, W) float32, adding up to 1.

    Raises:
        MaskError: The image is not (H, W, 3) uint8.
    """
    check_image(image)
    height, width = image.shape[:2]
    tall, wide = (min(tile_px, multiple * math.ceil(side / multiple)) for side in (height, width))
    margins = ((0, max(0, tall - height)), (0, max(0, wide - width)), (0, 0))
    padded = torch.from_numpy(np.pad(image, margins, mode="symmetric")).to(device).movedim(-1, 0)
    window = torch.outer(_window(tall), _window(wide)).to(device)
    total = torch.zeros((classes, *padded.shape[1:]), device=device)
    weights = torch.zeros(padded.shape[1:], device=device)
    for row in tile_starts(padded.shape[1], tall, tall // 4):
        for column in tile_starts(padded.shape[2], wide, wide // 4):
            place = (..., slice(row, row + tall), slice(column, column + wide))
            shares = network(padded[place].float()[None] / 127.5 - 1)[0].float().softmax(dim=0)
            total[place] += shares * window
            weights[place] += window
    return np.asarray((total / weights)[:, :height, :width].cpu().numpy(), np.float32)


def _window(length: int) -> Tensor:
    """1 in the middle, falling to the sides; never 0, as a pixel at the edge of the image may be in one tile only."""
    return torch.hann_window(length + 2, periodic=False)[1:-1].clamp_min(1e-3)
