"""The strategies of training a segmentation model with synthetic pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

StrategyName = Literal["1", "1a", "2", "3", "4", "5"]


@dataclass(frozen=True)
class Strategy:
    """What a model learns from, and what it starts with.

    Args:
        about: The same in words.
        real: Share of the real pairs that is wanted: 'all', 'part' or 'none'.
        synthetic: Whether it learns from synthetic pairs.
        start: Strategy whose model of the same seed it goes on from, with the settings of fine-tuning.
    """

    about: str
    real: Literal["all", "part", "none"]
    synthetic: bool
    start: StrategyName | None = None


STRATEGIES: dict[StrategyName, Strategy] = {
    "1": Strategy("real only", "all", False),
    "1a": Strategy("a part of the real pairs only", "part", False),
    "2": Strategy("real, then fine-tuned on synthetic and real", "all", True, "1"),
    "3": Strategy("real, then fine-tuned on synthetic", "none", True, "1"),
    "4": Strategy("synthetic only", "none", True),
    "5": Strategy("synthetic, then fine-tuned on real", "all", False, "4"),
}
"""By the numbers that the study gives them."""


def with_starts(names: Sequence[StrategyName]) -> list[StrategyName]:
    """The strategies, and those that they start from, each after its start."""
    ordered: list[StrategyName] = []
    for name in names:
        start = STRATEGIES[name].start
        ordered += [each for each in (start, name) if each is not None and each not in ordered]
    return ordered
