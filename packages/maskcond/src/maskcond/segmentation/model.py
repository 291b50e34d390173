"""What every segmentation model can do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.masks.arrays import Image, Labels
from maskcond.masks.classes import ClassSet

Pairs = Sequence[LabelledImage]
"""Images with labels. A set too large for memory reads each pair when it is asked for."""


@dataclass(frozen=True)
class FitProgress:
    """How far a training is.

    Args:
        done: Steps or epochs done, as the model counts.
        total: Steps or epochs in all.
        loss: The last one's mean loss.
        learning_rate: The last one's.
    """

    done: int
    total: int
    loss: float
    learning_rate: float


class SegmentationModel(Protocol):
    """A model that gives every pixel of an image a class. It lives in a folder, and is trained once."""

    @property
    def folder(self) -> Path:
        """Where it lives, and what another model starts from."""
        ...

    @property
    def classes(self) -> ClassSet:
        """What the numbers of its labels mean."""
        ...

    @property
    def is_trained(self) -> bool:
        """Whether it can predict."""
        ...

    def fit(self, pairs: Pairs, *, seed: int = 0, start_from: Path | None = None) -> Iterator[FitProgress]:
        """Trains it, and tells how far it is; interrupted, the same call goes on, and does nothing once all is done.

        Args:
            pairs: What to learn from: all of them, none is held out.
            seed: Of everything that is random.
            start_from: The folder of a trained model of the same kind whose weights it starts with.

        Raises:
            SegmentationError: There is no pair, one does not fit, or the folder holds a model trained in another way.
        """
        ...

    def predict(self, images: Iterable[Image]) -> Iterator[Labels]:
        """Labels images of any size, one after another.

        Raises:
            SegmentationError: It is not trained.
            MaskError: An image is not (H, W, 3) uint8.
        """
        ...
