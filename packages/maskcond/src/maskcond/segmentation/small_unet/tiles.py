"""Tiled prediction: images of any size through a network that takes tiles."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskcond.masks.arrays import Image, check_image


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Start positions of evenly spaced tiles along an axis, whose neighbours share at least the overlap.

    Args:
        length: Length of the axis, px; at least that of a tile.
        tile: Length of a tile, px.
        overlap: Smallest overlap of neighbours, px; below the length of a tile.
    """
    gaps = math.ceil((length - tile) / (tile - overlap))
    return [round(index * (length - tile) / gaps) for index in range(gaps + 1)] if gaps else [0]


def predict_tiled(
    image: Image,
    predict: Callable[[Tensor], Tensor],
    *,
    channels: int,
    tile_px: int,
    multiple: int,
    device: torch.device,
) -> NDArray[np.float32]:
    """Predicts values for every pixel; tiles overlap by a quarter and are weighted by a window.

    An image smaller than a tile is one tile, padded by mirroring to the next size that the network takes.

    Args:
        image: (H, W, 3) uint8 RGB.
        predict: Function from images (B, 3, h, w) in [-1, 1] to values (B, C, h, w) of which means can be taken, such
            as probabilities.
        channels: Number of values C of a pixel.
        tile_px: Side of a tile, px; a multiple of `multiple`.
        multiple: Divisor of the sides of the network's images, px.
        device: Device of the network.

    Returns:
        Values, (C, H, W) float32.

    Raises:
        MaskError: The image is not (H, W, 3) uint8.
    """
    check_image(image)
    height, width = image.shape[:2]
    # at least twice `multiple`: normalisation over a single pixel of the deepest layer is not possible
    tall, wide = (min(tile_px, multiple * max(2, math.ceil(side / multiple))) for side in (height, width))
    margins = ((0, max(0, tall - height)), (0, max(0, wide - width)), (0, 0))
    padded = torch.from_numpy(np.pad(image, margins, mode="symmetric")).to(device).movedim(-1, 0)
    window = torch.outer(_window(tall), _window(wide)).to(device)
    total = torch.zeros((channels, *padded.shape[1:]), device=device)
    weights = torch.zeros(padded.shape[1:], device=device)
    for row in tile_starts(padded.shape[1], tall, tall // 4):
        for column in tile_starts(padded.shape[2], wide, wide // 4):
            region = (..., slice(row, row + tall), slice(column, column + wide))
            total[region] += predict(padded[region].float()[None] / 127.5 - 1)[0].float() * window
            weights[region] += window
    return np.asarray((total / weights)[:, :height, :width].cpu().numpy(), np.float32)


def mean_over_flips(predict: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Predicts images and their three mirror images, and takes the mean; see `predict_tiled` for both arguments."""
    return torch.stack([predict(images.flip(axes)).float().flip(axes) for axes in ((), (2,), (3,), (2, 3))]).mean(dim=0)


def _window(length: int) -> Tensor:
    """A Hann window, never 0, because a pixel at the edge of the image may be in one tile only."""
    return torch.hann_window(length + 2, periodic=False)[1:-1].clamp_min(1e-3)
