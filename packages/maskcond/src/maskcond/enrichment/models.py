"""Interfaces of the models of an enrichment, as its steps use them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from maskcond.annotations.labelled_images import LabelledImages
from maskcond.conditions import ConditionSet, Given
from maskcond.enrichment.steps.step import Progress
from maskcond.masks.arrays import Image, Labels
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.model import Pairs, SegmentationModel
from maskcond.segmentation.plan import TrainingKind


class ImageSampler(Protocol):
    """The unconditional cascade, ready to sample."""

    def sample(self, seeds: Sequence[int]) -> list[Image]:
        """Samples an image for each seed, which depends on nothing else."""
        ...


class MaskedImageSampler(Protocol):
    """The mask-conditioned cascade, ready to sample."""

    def sample(self, masks: Sequence[Labels], seeds: Sequence[int], given: Sequence[Given] | None) -> list[Image]:
        """Samples an image for each mask, which depends on its seed, mask and conditions alone."""
        ...


class MaskSampler(Protocol):
    """A diffusion model of masks, ready to sample."""

    def sample(self, seeds: Sequence[int]) -> list[Labels]:
        """Samples labels for each seed, which depend on nothing else."""
        ...


class Models(Protocol):
    """Training and opening of the models; every step has its own folder."""

    @property
    def classes(self) -> ClassSet:
        """Classes of the masks that the mask-conditioned cascade takes."""
        ...

    @property
    def conditions(self) -> ConditionSet | None:
        """Conditions of the mask-conditioned cascade besides the mask."""
        ...

    @property
    def image_px(self) -> int:
        """Side of the sampled images."""
        ...

    def count_weights(self) -> list[int]:
        """Number of weights of each network of the cascades that are trained."""
        ...

    def train_cascade(self, folder: Path, images: LabelledImages) -> Iterator[Progress]:
        """Trains the unconditional cascade; saves it in `folder/model`."""
        ...

    def finish_cascade(self, folder: Path, images: LabelledImages, start: Path) -> Iterator[Progress]:
        """Finishes students of the cascade in `start` on real images; saves the cascade in `folder/model`."""
        ...

    def open_cascade(self, folder: Path) -> ImageSampler:
        """Opens an unconditional cascade."""
        ...

    def train_mask_cascade(
        self, folder: Path, pairs: LabelledImages, unannotated: LabelledImages | None, start: Path
    ) -> Iterator[Progress]:
        """Trains the mask-conditioned cascade, from the cascade in `start`; saves it in `folder/model`."""
        ...

    def open_mask_cascade(self, folder: Path) -> MaskedImageSampler:
        """Opens a mask-conditioned cascade."""
        ...

    def train_mask_diffusion(self, folder: Path, pairs: LabelledImages) -> Iterator[Progress]:
        """Trains a diffusion model of masks; saves it in `folder/model`."""
        ...

    def open_mask_diffusion(self, folder: Path) -> MaskSampler:
        """Opens a diffusion model of masks."""
        ...

    @property
    def plans_segmentation(self) -> bool:
        """Whether segmentation models need plans, made from the real pairs."""
        ...

    def plan_segmentation(self, file: Path, pairs: Pairs) -> None:
        """Makes the plans of the segmentation models."""
        ...

    def segmentation_model(self, folder: Path, *, kind: TrainingKind, plans: Path | None) -> SegmentationModel:
        """The segmentation model of a folder, to train."""
        ...

    def open_segmentation_model(self, folder: Path) -> SegmentationModel:
        """Opens one that is trained."""
        ...
