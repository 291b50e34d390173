"""Random pairing of images, their order and their sides."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from study_app.database import Side

_T = TypeVar("_T")
PAIRING = 1
SIDES = 2
"""Independent streams of random numbers of a seed, one for each use."""


def draw_pairs(real: Sequence[int], synthetic: Mapping[str, Sequence[int]], seed: int) -> list[tuple[int, int]]:
    """Pairs real and synthetic images at random, each image at most once.

    The number of pairs is the smaller of the numbers of real and of synthetic images. Several versions get equal
    numbers of pairs, or all of their images.

    Args:
        real: Numbers of the real images.
        synthetic: Numbers of the synthetic images of each version.
        seed: Seed of the pairs.

    Returns:
        Pairs (real, synthetic), in the order in which they are shown.
    """
    rng = np.random.default_rng([PAIRING, seed])
    reals = _shuffled(real, rng)
    turns = [(turn, image) for name in sorted(synthetic) for turn, image in enumerate(_shuffled(synthetic[name], rng))]
    synthetics = [image for _, image in sorted(_shuffled(turns, rng), key=lambda turn: turn[0])][: len(reals)]
    return _shuffled(list(zip(reals, synthetics, strict=False)), rng)


def draw_order(items: Sequence[_T], seed: int) -> list[_T]:
    """Shuffles items that need no pairing: single images, or pairs of crops."""
    return _shuffled(items, np.random.default_rng([PAIRING, seed]))


def draw_side(seed: int, position: int) -> Side:
    """Chooses the random side of the real image of a pair for a reader.

    Args:
        seed: Seed of the reader in this study.
        position: Position of the pair.
    """
    return (Side.LEFT, Side.RIGHT)[int(np.random.default_rng([SIDES, seed, position]).integers(2))]


def _shuffled(values: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [values[int(number)] for number in rng.permutation(len(values))]
