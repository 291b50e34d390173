"""Masks and images of histology: read, turned from one form into another, compared, and images drawn from masks.

What needs torch is imported when it is first asked for: measuring and converting do without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskcond.annotated_images import (
    AnnotatedImage,
    AnnotatedImages,
    ImageRecord,
    read_image,
    read_instances,
    read_numbers,
)
from maskcond.annotation_files import read_outlines, write_outlines
from maskcond.area import resize_by_area
from maskcond.arrays import Channels, Image, Instances, Labels
from maskcond.augmentation import Augmentation, augment
from maskcond.class_balance import ClassBalance
from maskcond.classes import KIDNEY, KUMAR, KUMAR_BORDER, ClassSet, MaskClass
from maskcond.codec import MaskCodec
from maskcond.conditions import KUMAR_CONDITIONS, Category, Conditions, Number
from maskcond.errors import AnnotationError, ConditionError, ImageSetError, MaskcondError, MaskError
from maskcond.instances import (
    border_labels,
    check_instances,
    connected_components,
    instances_from_borders,
    relabel,
    remove_fragments,
    split_parts,
)
from maskcond.kumar import read_kumar
from maskcond.labelled_images import (
    LabelledImage,
    LabelledImages,
    labelled,
    labels_of_instances,
    picture_folder,
    read_labels,
)
from maskcond.metrics import PanopticQuality, SegmentationScores, aji, aji_plus, dice, mean_scores, pq, score
from maskcond.outlines import Outline, Polygon, draw_instances, draw_labels, trace_outlines

if TYPE_CHECKING:
    from maskcond.mask_cascade import MaskCascade, MaskInput
    from maskcond.mask_diffusion import (
        MaskDiffusion,
        MaskPictureExamples,
        MaskPictures,
        instances_of_labels,
        sample_masks,
    )
    from maskcond.mask_diffusion_training import (
        MASK_DIFFUSION_PLANS,
        MaskDiffusionNetwork,
        MaskDiffusionPlan,
        train_mask_diffusion,
    )
    from maskcond.mask_examples import MaskExamples, mask_channels
    from maskcond.mask_plan import MASK_PLANS, MaskNetworkPlan, MaskPlan, mask_plan_text, read_mask_plan
    from maskcond.mask_training import train_mask_cascade
    from maskcond.network_training import NetworkEvent
    from maskcond.sampling import SampledImage, sample_images
    from maskcond.widening import add_embedding, widen_for_masks

__all__ = [
    "KIDNEY",
    "KUMAR",
    "KUMAR_BORDER",
    "KUMAR_CONDITIONS",
    "MASK_DIFFUSION_PLANS",
    "MASK_PLANS",
    "AnnotatedImage",
    "AnnotatedImages",
    "AnnotationError",
    "Augmentation",
    "Category",
    "Channels",
    "ClassBalance",
    "ClassSet",
    "ConditionError",
    "Conditions",
    "Image",
    "ImageRecord",
    "ImageSetError",
    "Instances",
    "LabelledImage",
    "LabelledImages",
    "Labels",
    "MaskCascade",
    "MaskClass",
    "MaskCodec",
    "MaskDiffusion",
    "MaskDiffusionNetwork",
    "MaskDiffusionPlan",
    "MaskError",
    "MaskExamples",
    "MaskInput",
    "MaskNetworkPlan",
    "MaskPictureExamples",
    "MaskPictures",
    "MaskPlan",
    "MaskcondError",
    "NetworkEvent",
    "Number",
    "Outline",
    "PanopticQuality",
    "Polygon",
    "SampledImage",
    "SegmentationScores",
    "add_embedding",
    "aji",
    "aji_plus",
    "augment",
    "border_labels",
    "check_instances",
    "connected_components",
    "dice",
    "draw_instances",
    "draw_labels",
    "instances_from_borders",
    "instances_of_labels",
    "labelled",
    "labels_of_instances",
    "mask_channels",
    "mask_plan_text",
    "mean_scores",
    "picture_folder",
    "pq",
    "read_image",
    "read_instances",
    "read_kumar",
    "read_labels",
    "read_mask_plan",
    "read_numbers",
    "read_outlines",
    "relabel",
    "remove_fragments",
    "resize_by_area",
    "sample_images",
    "sample_masks",
    "score",
    "split_parts",
    "trace_outlines",
    "train_mask_cascade",
    "train_mask_diffusion",
    "widen_for_masks",
    "write_outlines",
]

_WITH_TORCH = {
    "MaskDiffusion": "mask_diffusion",
    "MaskPictureExamples": "mask_diffusion",
    "MaskPictures": "mask_diffusion",
    "instances_of_labels": "mask_diffusion",
    "sample_masks": "mask_diffusion",
    "MASK_DIFFUSION_PLANS": "mask_diffusion_training",
    "MaskDiffusionNetwork": "mask_diffusion_training",
    "MaskDiffusionPlan": "mask_diffusion_training",
    "train_mask_diffusion": "mask_diffusion_training",
    "NetworkEvent": "network_training",
    "MaskCascade": "mask_cascade",
    "MaskInput": "mask_cascade",
    "MaskExamples": "mask_examples",
    "mask_channels": "mask_examples",
    "MASK_PLANS": "mask_plan",
    "MaskNetworkPlan": "mask_plan",
    "MaskPlan": "mask_plan",
    "mask_plan_text": "mask_plan",
    "read_mask_plan": "mask_plan",
    "train_mask_cascade": "mask_training",
    "SampledImage": "sampling",
    "sample_images": "sampling",
    "add_embedding": "widening",
    "widen_for_masks": "widening",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'maskcond' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"maskcond.{_WITH_TORCH[name]}"), name)
    return found
