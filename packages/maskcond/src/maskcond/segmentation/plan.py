"""The interface of the training plans of segmentation models, by which enrichment uses any kind of model."""

from pathlib import Path
from typing import Literal, Protocol

import torch

from maskcond.masks.classes import ClassSet
from maskcond.segmentation.loading import Workers
from maskcond.segmentation.model import Pairs, SegmentationModel

TrainingKind = Literal["training", "fine-tuning", "strong augmentation"]
"""From scratch, from another model's weights, or from scratch with stronger augmentation."""


class SegmentationSettings(Protocol):
    """Settings of one training, a frozen dataclass."""

    @property
    def units(self) -> int:
        """Length of the training in the unit of its progress: steps or epochs."""
        ...


class SegmentationPlan(Protocol):
    """The settings of a kind of model for training from scratch and for fine-tuning; it makes the models."""

    @property
    def training(self) -> SegmentationSettings:
        """Settings of a training from scratch."""
        ...

    def settings(self, kind: TrainingKind) -> SegmentationSettings:
        """Settings of a kind of training.

        Raises:
            SegmentationError: These models have no such training.
        """
        ...

    @property
    def plans_pairs(self) -> bool:
        """Whether models need `write_plans` before the first training."""
        ...

    def check_installed(self) -> None:
        """Checks that the extra of this kind is installed.

        Raises:
            SegmentationError: The extra is not installed.
        """
        ...

    def write_plans(self, file: Path, pairs: Pairs, classes: ClassSet) -> None:
        """Writes the plans that all models of a run share; called only if `plans_pairs`."""
        ...

    def model(
        self,
        folder: Path,
        classes: ClassSet,
        *,
        kind: TrainingKind,
        plans: Path | None,
        device: torch.device,
        workers: Workers,
    ) -> SegmentationModel:
        """Returns the model of a folder, to train."""
        ...

    def open(self, folder: Path, *, device: torch.device) -> SegmentationModel:
        """Opens the trained model of a folder."""
        ...
