"""The training plan of small U-Nets, see `maskcond.segmentation.plan`."""

from dataclasses import replace
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass

from cdm_core.config_file import STRICT
from maskcond.masks.augmentation import Augmentation
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.extras import import_extra
from maskcond.segmentation.loading import Workers
from maskcond.segmentation.model import Pairs
from maskcond.segmentation.plan import TrainingKind
from maskcond.segmentation.small_unet.model import NETWORK, SmallUnet
from maskcond.segmentation.small_unet.settings import SmallUnetSettings

STRONG_AUGMENTATION = Augmentation(rotation_degrees=180, elastic_px=4, elastic_scale_px=16, colour=0.4, scale=0.4)


@dataclass(frozen=True, config=STRICT)
class SmallUnetPlan:
    """Settings of small U-Nets, for training from scratch and for fine-tuning.

    Args:
        training: Settings of a training from scratch.
        fine_tuning: Settings of a training that starts from another model.
        strong_augmentation: Augmentation of a training with stronger augmentation; crops have the size of `training`.

    Raises:
        ValueError: The two differ in the network, or the stronger augmentation has crops of another size.
    """

    training: SmallUnetSettings = SmallUnetSettings()
    fine_tuning: SmallUnetSettings = SmallUnetSettings(steps=500)
    strong_augmentation: Augmentation = STRONG_AUGMENTATION

    plans_pairs = False

    def __post_init__(self) -> None:
        for name in NETWORK:
            if getattr(self.training, name) != getattr(self.fine_tuning, name):
                raise ValueError(f"fine_tuning: {name} differs from that of training; use the same")
        if self.strong_augmentation.crop_px not in (None, self.training.crop_px):
            raise ValueError("strong_augmentation: crop_px differs from that of training; leave it out")

    def settings(self, kind: TrainingKind) -> SmallUnetSettings:
        """See `SegmentationPlan.settings`."""
        if kind == "fine-tuning":
            return self.fine_tuning
        if kind == "training":
            return self.training
        crops = replace(self.strong_augmentation, crop_px=self.training.crop_px)
        return replace(self.training, augmentation=crops)

    def check_installed(self) -> None:
        """See `SegmentationPlan.check_installed`."""
        import_extra("dynamic_network_architectures", extra="unet", use="the small U-Net")

    def write_plans(self, file: Path, pairs: Pairs, classes: ClassSet) -> None:
        """Small U-Nets need no plans."""

    def model(
        self,
        folder: Path,
        classes: ClassSet,
        *,
        kind: TrainingKind,
        plans: Path | None,
        device: torch.device,
        workers: Workers,
    ) -> SmallUnet:
        """See `SegmentationPlan.model`."""
        return SmallUnet(folder, classes, self.settings(kind), device=device, workers=workers)

    def open(self, folder: Path, *, device: torch.device) -> SmallUnet:
        """See `SegmentationPlan.open`."""
        return SmallUnet.open(folder, device=device)
