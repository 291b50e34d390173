"""Segmentation models: from images to masks."""

from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import FitProgress, Pairs, SegmentationModel
from maskcond.segmentation.nnunet import NnUnet, plan_nnunet
from maskcond.segmentation.nnunet_dataset import export_nnunet_dataset
from maskcond.segmentation.nnunet_settings import NnUnetSettings
from maskcond.segmentation.small_unet import SmallUnet
from maskcond.segmentation.small_unet_settings import SmallUnetSettings
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask

__all__ = [
    "FitProgress",
    "NnUnet",
    "NnUnetSettings",
    "NucleiTask",
    "Pairs",
    "SegmentationError",
    "SegmentationModel",
    "SegmentationTask",
    "SemanticTask",
    "SmallUnet",
    "SmallUnetSettings",
    "export_nnunet_dataset",
    "plan_nnunet",
]
