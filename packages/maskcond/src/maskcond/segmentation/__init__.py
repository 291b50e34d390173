"""Segmentation models: from images to masks.

Names that need torch are imported on first use.
"""

from typing import TYPE_CHECKING

from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import FitProgress, Pairs, SegmentationModel
from maskcond.segmentation.nnunet.dataset import export_nnunet_dataset
from maskcond.segmentation.nnunet.settings import NnUnetSettings
from maskcond.segmentation.small_unet.settings import SmallUnetSettings
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask
from run_folder import lazy_names

if TYPE_CHECKING:
    from maskcond.segmentation.nnunet.model import NnUnet, plan_nnunet
    from maskcond.segmentation.small_unet.model import SmallUnet

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

__getattr__ = lazy_names(__name__, {"nnunet.model": ["NnUnet", "plan_nnunet"], "small_unet.model": ["SmallUnet"]})
