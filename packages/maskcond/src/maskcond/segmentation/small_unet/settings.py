"""Settings of the small U-Net."""

from dataclasses import dataclass, field

from maskcond.masks.augmentation import Augmentation
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.learning_rate import check_learning_rates

AUGMENTATION = Augmentation(crop_px=256, rotation_degrees=45, elastic_px=3, elastic_scale_px=16, colour=0.2)


@dataclass(frozen=True)
class SmallUnetSettings:
    """Settings of the network and its training.

    Args:
        features: Channels at each resolution, from the image's downwards; each resolution is half the one before.
        steps: Number of training steps.
        batch_size: Crops a step.
        learning_rate: Learning rate of the first step.
        final_learning_rate: Learning rate at the end.
        augmentation: Augmentation of the crops; their side is a multiple of 2 to the number of halvings.
        class_weights: Weights of the cross-entropy, the background's first; all 1 if None.
        distances: Whether the network also learns how deep each pixel lies in its nucleus, which separates touching
            nuclei better than a border alone; for the classes `maskcond.KUMAR_BORDER`. See `maskcond.masks.distances`.
        block_px: Side of the blocks of pixels that are one position of the highest resolution, px; see
            `maskcond.segmentation.small_unet.network.FoldedUnet`.
        flips: Whether a prediction is the mean over the image and its mirror images.

    Raises:
        SegmentationError: A number is out of range, or the crop does not fit the network.
    """

    features: tuple[int, ...] = (32, 64, 128, 256)
    steps: int = 4000
    batch_size: int = 8
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-6
    augmentation: Augmentation = field(default=AUGMENTATION)
    class_weights: tuple[float, ...] | None = None
    distances: bool = False
    block_px: int = 1
    flips: bool = False

    def __post_init__(self) -> None:
        check_learning_rates(self.learning_rate, self.final_learning_rate)
        if len(self.features) < 2 or min(self.features) < 1:
            raise SegmentationError(f"wanted features at two resolutions or more, got {self.features}")
        for name in ("steps", "batch_size", "block_px"):
            if getattr(self, name) < 1:
                raise SegmentationError(f"wanted {name} of at least 1, got {getattr(self, name)}")
        # in the deepest layer, normalisation over a single pixel would always give zero
        if self.crop_px % self.multiple or self.crop_px < 2 * self.multiple:
            raise SegmentationError(
                f"wanted crops whose side is a multiple of {self.multiple} px, at least twice that, got {self.crop_px}"
            )
        if self.class_weights is not None and not all(0 < weight < float("inf") for weight in self.class_weights):
            raise SegmentationError(f"wanted positive class weights, got {self.class_weights}")

    @property
    def units(self) -> int:
        """Length of the training in the unit of its progress: steps."""
        return self.steps

    @property
    def crop_px(self) -> int:
        """Side of a crop, px; 0 if the augmentation does not crop."""
        return self.augmentation.crop_px or 0

    @property
    def multiple(self) -> int:
        """Divisor of the sides of the network's images, px."""
        return int(self.block_px * 2 ** (len(self.features) - 1))
