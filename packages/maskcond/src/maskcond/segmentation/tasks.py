"""From masks to the labels that a segmentation model learns, and from its predictions back to masks."""

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
    """What is to be told apart."""

    @property
    def classes(self) -> ClassSet:
        """The classes of the labels that a model learns and predicts."""
        ...

    def labels(self, mask: Numbers) -> Labels:
        """Makes labels to learn of a mask (H, W).

        Raises:
            MaskError: It is no mask of this task.
        """
        ...

    def mask(self, labels: Labels) -> NDArray[Any]:
        """Makes a mask (H, W) of predicted labels.

        Raises:
            MaskError: They are no labels of this task.
        """
        ...


@dataclass(frozen=True)
class NucleiTask:
    """Nuclei, each by itself: masks are instance maps, and labels tell the inside of nuclei from their borders.

    Args:
        border_px: Width of the border of each nucleus.
        min_area_px: Predicted nuclei of fewer pixels are left out.

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
        """Inside and border."""
        return KUMAR_BORDER

    def labels(self, mask: Numbers) -> Labels:
        """Makes labels of an instance map; see `maskcond.border_labels`."""
        return border_labels(mask, self.border_px)

    def mask(self, labels: Labels) -> Instances:
        """Makes an instance map of labels by watershed; see `maskcond.instances_from_borders`."""
        return relabel(remove_fragments(instances_from_borders(labels), self.min_area_px))


@dataclass(frozen=True)
class SemanticTask:
    """Kinds of tissue, as in the kidney: masks are labels, and stay what they are."""

    classes: ClassSet

    def labels(self, mask: Numbers) -> Labels:
        """Makes sure that all numbers are classes."""
        MaskCodec(self.classes).check(mask)
        return np.asarray(mask, np.uint8)

    def mask(self, labels: Labels) -> Labels:
        """Makes sure that all numbers are classes."""
        return self.labels(labels)
