"""Detection of training images that show the same pixels: duplicates and overlapping tiles.

There are two criteria: blocks of exactly equal pixels, at any position and in any orientation; and thumbnails that are
equal but for rounding, as of a picture that was compressed again.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from maskcond.enrichment.pairs.thumbnails import ImageParts, distances, ways_of
from maskcond.masks.arrays import Image

BLOCK_PX = 16
RICH = 64
"""Smallest number of colours of a block; simpler blocks, as of glass or painted masks, can be equal by chance."""
NOISE = 1.0
"""Largest root mean square difference of equal thumbnails, grey levels."""
TEXTURE = 4.0
"""Smallest standard deviation of a thumbnail with enough content, grey levels."""
SAMPLED_PARTS = 16
SHARE = 0.25
"""Smallest share of an image's parts in another image: that of tiles that overlap by half in both directions."""

Hashes = NDArray[np.uint64]

_ROW, _COLUMN = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03
_INVERSES = tuple(pow(factor, -1, 2**64) for factor in (_ROW, _COLUMN))


def find_repeats(images: Sequence[Image], training: Sequence[ImageParts]) -> list[set[int]]:
    """Finds, for each image, the training images that show some of its pixels, including itself.

    Args:
        images: Images, (H, W, 3) uint8.
        training: Parts of training images: of these images first, in order, then of others.

    Returns:
        For each image, indices of training images.
    """
    blocks = np.concatenate([parts.blocks for parts in training])
    owners = np.repeat(np.arange(len(training)), [len(parts.blocks) for parts in training])
    order = np.argsort(blocks)
    blocks, owners = blocks[order], owners[order]
    return [
        {number} | _same_blocks(image, blocks, owners) | _same_thumbs(image, training)
        for number, image in enumerate(images)
    ]


def block_hashes(image: Image) -> Hashes:
    """Hashes of the blocks of many colours on a grid over an image, (N,)."""
    colours = _colours(image)
    rows, cols = (length // BLOCK_PX * BLOCK_PX for length in colours.shape)
    if not rows or not cols:
        return np.empty(0, np.uint64)
    grid = colours[:rows, :cols].reshape(rows // BLOCK_PX, BLOCK_PX, cols // BLOCK_PX, BLOCK_PX).swapaxes(1, 2)
    ordered = np.sort(grid.reshape(grid.shape[0], grid.shape[1], -1), axis=2)
    rich = (ordered[..., 1:] != ordered[..., :-1]).sum(axis=2) + 1 >= RICH
    hashes: Hashes = _window_hashes(colours)[:rows:BLOCK_PX, :cols:BLOCK_PX][rich]
    return hashes


def _same_blocks(image: Image, blocks: Hashes, owners: NDArray[np.int64]) -> set[int]:
    """Indices of the training images that share a block with an image; `blocks` are sorted."""
    if min(image.shape[:2]) < BLOCK_PX or not len(blocks):
        return set()
    # a table of the hashes' last bits rules out most of the many windows
    bits = np.uint64(2**20 - 1)
    table = np.zeros(2**20, bool)
    table[blocks & bits] = True
    repeats = set()
    for turned in _turns(_colours(image)):
        windows = _window_hashes(turned).ravel()
        windows = np.unique(windows[table[windows & bits]])
        first, last = (np.searchsorted(blocks, windows, side) for side in ("left", "right"))
        for start, end in zip(first[first < last], last[first < last], strict=True):
            repeats |= set(owners[start:end].tolist())
    return repeats


def _same_thumbs(image: Image, training: Sequence[ImageParts]) -> set[int]:
    """Indices of the training images with the same thumbnails as an image, but for rounding."""
    (side_px,) = {other.side_px for other in training}
    parts = [part for part in ways_of(image, side_px, SAMPLED_PARTS) if part[0].std() >= TEXTURE]
    if not parts:
        return set()
    ways = np.concatenate(parts)
    repeats = set()
    for number, other in enumerate(training):
        nearest = distances(ways, other.thumbs).min(axis=1).reshape(len(parts), -1).min(axis=1)
        if (nearest <= NOISE).mean() >= SHARE:
            repeats.add(number)
    return repeats


def _colours(image: Image) -> Hashes:
    """Each pixel as one number, (H, W)."""
    red, green, blue = (image[..., channel].astype(np.uint64) for channel in range(3))
    colours: Hashes = red | green << np.uint64(8) | blue << np.uint64(16)
    return colours


def _turns(colours: Hashes) -> Iterator[Hashes]:
    for side in (colours, colours[:, ::-1]):
        for quarter in range(4):
            yield np.rot90(side, quarter)


def _window_hashes(colours: Hashes) -> Hashes:
    """A hash of every window of `BLOCK_PX`, by its upper left corner, (H - 15, W - 15).

    Polynomials modulo 2^64: a window's is the difference of two sums from the edge, moved to the origin.
    """
    for axis, (factor, inverse) in enumerate(zip((_ROW, _COLUMN), _INVERSES, strict=True)):
        colours = np.moveaxis(colours, axis, 0)
        sums = np.zeros((len(colours) + 1, colours.shape[1]), np.uint64)
        np.cumsum(colours * _powers(factor, len(colours))[:, None], axis=0, out=sums[1:])
        windows = (sums[BLOCK_PX:] - sums[:-BLOCK_PX]) * _powers(inverse, len(sums) - BLOCK_PX)[:, None]
        colours = np.moveaxis(windows, 0, axis)
    return colours


def _powers(factor: int, count: int) -> Hashes:
    """1, factor, factor^2 and so on, modulo 2^64."""
    powers = np.full(count, factor, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)
