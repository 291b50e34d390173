"""The training plan of nnU-Nets, see `maskcond.segmentation.plan`."""

from pathlib import Path

import torch
from pydantic.dataclasses import dataclass

from cdm_core.config_file import STRICT
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.extras import import_extra
from maskcond.segmentation.loading import Workers
from maskcond.segmentation.model import Pairs
from maskcond.segmentation.nnunet.model import NnUnet, plan_nnunet
from maskcond.segmentation.nnunet.settings import NnUnetSettings
from maskcond.segmentation.plan import TrainingKind


@dataclass(frozen=True, config=STRICT)
class NnUnetPlan:
    """Settings of nnU-Nets, for training from scratch and for fine-tuning.

    Raises:
        ValueError: The two differ in the network.
    """

    training: NnUnetSettings = NnUnetSettings()
    fine_tuning: NnUnetSettings = NnUnetSettings(epochs=100)

    plans_pairs = True

    def __post_init__(self) -> None:
        for name in ("base_features", "patch_px", "batch_size"):
            if getattr(self.training, name) != getattr(self.fine_tuning, name):
                raise ValueError(f"fine_tuning: {name} differs from that of training; use the same")

    def settings(self, kind: TrainingKind) -> NnUnetSettings:
        """See `SegmentationPlan.settings`."""
        if kind == "strong augmentation":
            raise SegmentationError("nnU-Net's augmentation is strong already: it has no stronger one; leave it out")
        return self.fine_tuning if kind == "fine-tuning" else self.training

    def check_installed(self) -> None:
        """See `SegmentationPlan.check_installed`."""
        import_extra("nnunetv2", extra="nnunet", use="nnU-Net")

    def write_plans(self, file: Path, pairs: Pairs, classes: ClassSet) -> None:
        """Writes nnU-Net's plans, made from the pairs of the last fine-tuning."""
        plan_nnunet(pairs, file, classes, self.training)

    def model(
        self,
        folder: Path,
        classes: ClassSet,
        *,
        kind: TrainingKind,
        plans: Path | None,
        device: torch.device,
        workers: Workers,
    ) -> NnUnet:
        """See `SegmentationPlan.model`."""
        return NnUnet(folder, classes, self.settings(kind), plans=plans, device=device, workers=workers)

    def open(self, folder: Path, *, device: torch.device) -> NnUnet:
        """See `SegmentationPlan.open`."""
        return NnUnet.open(folder, device=device)
