"""The strategies of training a segmentation model with synthetic pairs, and their rivals without."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from maskcond.segmentation.plan import TrainingKind

StrategyName = Literal["1", "1a", "1b", "1c", "2", "3", "4", "5"]


@dataclass(frozen=True)
class Strategy:
    """The training data and the initial model of a strategy.

    Args:
        about: Description in words.
        real: Real pairs to train on: 'all', 'part' or 'none'.
        synthetic: Whether to train on synthetic pairs.
        start: Strategy whose model of the same seed is fine-tuned; None: training from scratch.
        strong_augmentation: Whether to augment more strongly.
        pseudo_labels: Whether to train on unannotated real images, too, with the masks that a model predicts of them.
    """

    about: str
    real: Literal["all", "part", "none"]
    synthetic: bool = False
    start: StrategyName | None = None
    strong_augmentation: bool = False
    pseudo_labels: bool = False

    @property
    def mixes(self) -> bool:
        """Whether it learns from synthetic and real pairs at once."""
        return self.synthetic and self.real != "none"

    @property
    def training(self) -> TrainingKind:
        """The kind of training."""
        if self.start is not None:
            return "fine-tuning"
        return "strong augmentation" if self.strong_augmentation else "training"


STRATEGIES: dict[StrategyName, Strategy] = {
    "1": Strategy("real only", "all"),
    "1a": Strategy("a part of the real pairs only", "part"),
    "1b": Strategy("real only, with stronger augmentation", "all", strong_augmentation=True),
    "1c": Strategy("real, and unannotated images with predicted masks", "all", pseudo_labels=True),
    "2": Strategy("real, then fine-tuned on synthetic and real", "all", synthetic=True, start="1"),
    "3": Strategy("real, then fine-tuned on synthetic", "none", synthetic=True, start="1"),
    "4": Strategy("synthetic only", "none", synthetic=True),
    "5": Strategy("synthetic, then fine-tuned on real", "all", start="4"),
}
"""Strategies by their numbers in the study; it has no 1b and 1c."""


def with_starts(names: Sequence[StrategyName]) -> list[StrategyName]:
    """Adds the strategies that the given ones start from; each comes after its start."""
    ordered: list[StrategyName] = []
    for name in names:
        start = STRATEGIES[name].start
        ordered += [strategy for strategy in (start, name) if strategy is not None and strategy not in ordered]
    return ordered
