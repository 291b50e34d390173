"""Segmentation tasks: masks to labels for training, and predicted labels back to masks."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import MaskError
from maskcond.masks.arrays import Instances, Labels, Numbers
from maskcond.masks.classes import KUMAR_BORDER, ClassSet
from maskcond.masks.codec import MaskCodec
from maskcond.masks.instances import border_labels, instances_from_borders, relabel, remove_fragments


class SegmentationTask(Protocol):
    """The conversion between masks and the labels of a segmentation model."""

    @property
    def classes(self) -> ClassSet:
        """The classes of the labels that a model learns and predicts."""
        ...

    def labels(self, mask: Numbers) -> Labels:
        """Converts a mask (H, W) to labels for training.

        Raises:
            MaskError: The mask is not one of this task.
        """
        ...

    def mask(self, labels: Labels) -> NDArray[Any]:
        """Converts predicted labels to a mask (H, W).

        Raises:
            MaskError: The labels are not those of this task.
        """
        ...


@dataclass(frozen=True)
class NucleiTask:
    """Segmentation of single nuclei: masks are instance maps, labels are the inside and the border of nuclei.

    Args:
        border_px: Width of the border of each nucleus, px.
        min_area_px: Smallest area of a predicted nucleus, px; smaller ones are removed.

    Raises:
        MaskError: The width is below 1 or the area below 0.
    """

    border_px: int = 2
    min_area_px: int = 30

    def __post_init__(self) -> None:
        if self.border_px < 1 or self.min_area_px < 0:
            raise MaskError(
                f"wanted a border of at least 1 px and an area of at least 0, got {self.border_px}, {self.min_area_px}"
            )

    @property
    def classes(self) -> ClassSet:
        """The classes inside and border."""
        return KUMAR_BORDER

    def labels(self, mask: Numbers) -> Labels:
        """Converts an instance map to labels; see `maskcond.border_labels`."""
        return border_labels(mask, self.border_px)

    def mask(self, labels: Labels) -> Instances:
        """Converts labels to an instance map by watershed; see `maskcond.instances_from_borders`."""
        return relabel(remove_fragments(instances_from_borders(labels), self.min_area_px))


@dataclass(frozen=True)
class SemanticTask:
    """Segmentation of kinds of tissue, as in the kidney: masks are labels and stay unchanged."""

    classes: ClassSet

    def labels(self, mask: Numbers) -> Labels:
        """Checks that all numbers are classes."""
        MaskCodec(self.classes).check(mask)
        return np.asarray(mask, np.uint8)

    def mask(self, labels: Labels) -> Labels:
        """Checks that all numbers are classes."""
        return self.labels(labels)
