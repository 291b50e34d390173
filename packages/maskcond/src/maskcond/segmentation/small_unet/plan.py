"""The training plan of small U-Nets, see `maskcond.segmentation.plan`."""

from pathlib import Path

import torch
from pydantic.dataclasses import dataclass

from cdm_core.config_file import STRICT
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.extras import import_extra
from maskcond.segmentation.loading import Workers
from maskcond.segmentation.model import Pairs
from maskcond.segmentation.small_unet.model import NETWORK, SmallUnet
from maskcond.segmentation.small_unet.settings import SmallUnetSettings


@dataclass(frozen=True, config=STRICT)
class SmallUnetPlan:
    """Settings of small U-Nets, for training from scratch and for fine-tuning.

    Raises:
        ValueError: The two differ in the network.
    """

    training: SmallUnetSettings = SmallUnetSettings()
    fine_tuning: SmallUnetSettings = SmallUnetSettings(steps=500)

    plans_pairs = False

    def __post_init__(self) -> None:
        for name in NETWORK:
            if getattr(self.training, name) != getattr(self.fine_tuning, name):
                raise ValueError(f"fine_tuning: {name} differs from that of training; use the same")

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
        fine_tuning: bool,
        plans: Path | None,
        device: torch.device,
        workers: Workers,
    ) -> SmallUnet:
        """See `SegmentationPlan.model`."""
        settings = self.fine_tuning if fine_tuning else self.training
        return SmallUnet(folder, classes, settings, device=device, workers=workers)

    def open(self, folder: Path, *, device: torch.device) -> SmallUnet:
        """See `SegmentationPlan.open`."""
        return SmallUnet.open(folder, device=device)
