"""The draw: which images stand side by side, and in which order."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from study_app.database import Side

_T = TypeVar("_T")
PAIRING = 1
SIDES = 2
"""Streams of random numbers that a seed gives, one for each use, so that none tells of another."""


def draw_pairs(real: Sequence[int], synthetic: Mapping[str, Sequence[int]], seed: int) -> list[tuple[int, int]]:
    """Draws pairs of a real and a synthetic image, each image at most once.

    There are as many as the fewer of the real and of all synthetic images. Of several versions, each gets as many pairs
    as the others, or all of its images.

    Args:
        real: Real images, by whatever numbers.
        synthetic: Synthetic images of each version.
        seed: The same seed and images give the same pairs.

    Returns:
        Pairs (real, synthetic), in the order in which they are shown.
    """
    rng = np.random.default_rng([PAIRING, seed])
    reals = _shuffled(real, rng)
    turns = [(turn, image) for name in sorted(synthetic) for turn, image in enumerate(_shuffled(synthetic[name], rng))]
    synthetics = [image for _, image in sorted(_shuffled(turns, rng), key=lambda each: each[0])][: len(reals)]
    return _shuffled(list(zip(reals, synthetics, strict=False)), rng)


def draw_order(items: Sequence[_T], seed: int) -> list[_T]:
    """Draws the order in which items are shown that are no pairs to be drawn: single images, or pairs of crops."""
    return _shuffled(items, np.random.default_rng([PAIRING, seed]))


def draw_side(seed: int, position: int) -> Side:
    """Draws where a reader sees the real image of the pair at a position.

    Args:
        seed: The reader's own, of this study.
        position: Of the pair.
    """
    return (Side.LEFT, Side.RIGHT)[int(np.random.default_rng([SIDES, seed, position]).integers(2))]


def _shuffled(values: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [values[int(number)] for number in rng.permutation(len(values))]
