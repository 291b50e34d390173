"""Settings of nnU-Net."""

from dataclasses import dataclass

from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.learning_rate import check_learning_rates


@dataclass(frozen=True)
class NnUnetSettings:
    """Settings of nnU-Net's planning and training; the defaults are the study's for KUMAR.

    nnU-Net's own augmentation rotates, flips, scales and crops, and changes noise, blur, contrast and the brightness of
    each colour separately; elastic deformation is added to it.

    Args:
        epochs: Number of training epochs; the study fine-tunes for 100, and uses 200 and 25 for the kidney.
        steps_per_epoch: Number of steps an epoch.
        learning_rate: Learning rate of the first epoch.
        final_learning_rate: Learning rate of the last epoch.
        patch_px: Largest side of the crops, px; smaller images give smaller crops.
        batch_size: Crops a step.
        base_features: Channels at the image's resolution; they double at each halving, up to 512.
        elastic_share: Share of the crops that are deformed elastically.

    Raises:
        SegmentationError: A number is out of range.
    """

    epochs: int = 800
    steps_per_epoch: int = 250
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-6
    patch_px: int = 256
    batch_size: int = 12
    base_features: int = 32
    elastic_share: float = 0.2

    def __post_init__(self) -> None:
        check_learning_rates(self.learning_rate, self.final_learning_rate)
        for name in ("epochs", "steps_per_epoch", "batch_size", "base_features"):
            if getattr(self, name) < 1:
                raise SegmentationError(f"wanted {name} of at least 1, got {getattr(self, name)}")
        if self.patch_px < 16:
            raise SegmentationError(f"wanted a patch_px of at least 16, got {self.patch_px}")
        if not 0 <= self.elastic_share <= 1:
            raise SegmentationError(f"wanted an elastic_share in 0 to 1, got {self.elastic_share}")

    @property
    def units(self) -> int:
        """Length of the training in the unit of its progress: epochs."""
        return self.epochs
