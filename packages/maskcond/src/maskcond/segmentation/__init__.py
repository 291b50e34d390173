"""Segmentation models: from images to masks."""

from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import FitProgress, Pairs, SegmentationModel
from maskcond.segmentation.small_unet import SmallUnet
from maskcond.segmentation.small_unet_settings import SmallUnetSettings
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask

__all__ = [
    "FitProgress",
    "NucleiTask",
    "Pairs",
    "SegmentationError",
    "SegmentationModel",
    "SegmentationTask",
    "SemanticTask",
    "SmallUnet",
    "SmallUnetSettings",
]
