"""The strategies of training a segmentation model with synthetic pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

StrategyName = Literal["1", "1a", "2", "3", "4", "5"]


@dataclass(frozen=True)
class Strategy:
    """The training data and the initial model of a strategy.

    Args:
        about: Description in words.
        real: Real pairs to train on: 'all', 'part' or 'none'.
        synthetic: Whether to train on synthetic pairs.
        start: Strategy whose model of the same seed is fine-tuned; None: training from scratch.
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
"""Strategies by their numbers in the study."""


def with_starts(names: Sequence[StrategyName]) -> list[StrategyName]:
    """Adds the strategies that the given ones start from; each comes after its start."""
    ordered: list[StrategyName] = []
    for name in names:
        start = STRATEGIES[name].start
        ordered += [strategy for strategy in (start, name) if strategy is not None and strategy not in ordered]
    return ordered
