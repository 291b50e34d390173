"""Segmentation models: from images to masks.

What needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import FitProgress, Pairs, SegmentationModel
from maskcond.segmentation.nnunet.dataset import export_nnunet_dataset
from maskcond.segmentation.nnunet.settings import NnUnetSettings
from maskcond.segmentation.small_unet.settings import SmallUnetSettings
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask

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

_WITH_TORCH = {"NnUnet": "nnunet.model", "SmallUnet": "small_unet.model", "plan_nnunet": "nnunet.model"}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"maskcond.segmentation.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module 'maskcond.segmentation' has no attribute '{name}'")
