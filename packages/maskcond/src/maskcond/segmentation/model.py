"""The interface of segmentation models."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.masks.arrays import Image, Labels
from maskcond.masks.classes import ClassSet

Pairs = Sequence[LabelledImage]
"""Images with labels. A set too large for memory reads each pair on access."""


@dataclass(frozen=True)
class FitProgress:
    """The progress of a training.

    Args:
        done: Steps or epochs done, whichever the model counts.
        total: Steps or epochs of the whole training.
        loss: Mean loss of the last step or epoch.
        learning_rate: Learning rate of the last step or epoch.
    """

    done: int
    total: int
    loss: float
    learning_rate: float


class SegmentationModel(Protocol):
    """A model that gives every pixel of an image a class. It is stored in a folder and trained once."""

    @property
    def folder(self) -> Path:
        """The model's folder, from which another model can start."""
        ...

    @property
    def classes(self) -> ClassSet:
        """The classes of its labels."""
        ...

    @property
    def is_trained(self) -> bool:
        """Whether the training is complete, so that the model can predict."""
        ...

    def fit(self, pairs: Pairs, *, seed: int = 0, start_from: Path | None = None) -> Iterator[FitProgress]:
        """Trains the model and yields the progress.

        After an interruption the same call continues the training; once it is complete, the call does nothing.

        Args:
            pairs: Training pairs; none is held out.
            seed: Seed of all random numbers.
            start_from: Folder of a trained model of the same kind, whose weights are the initial ones.

        Raises:
            SegmentationError: There is no pair, one is invalid, or the folder holds a model that was trained with
                other settings or pairs.
        """
        ...

    def predict(self, images: Iterable[Image]) -> Iterator[Labels]:
        """Labels images of any size, one after another.

        Raises:
            SegmentationError: The model is not trained.
            MaskError: An image is not (H, W, 3) uint8.
        """
        ...
