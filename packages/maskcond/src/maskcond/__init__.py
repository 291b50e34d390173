"""Masks and images of histology: read, turned from one form into another, compared, and images drawn from masks.

What needs torch is imported when it is first asked for: measuring and converting do without it.
"""

from typing import TYPE_CHECKING

from maskcond.annotations.annotated_images import (
    AnnotatedImage,
    AnnotatedImages,
    ImageRecord,
    read_image,
    read_instances,
    read_numbers,
)
from maskcond.annotations.annotation_files import read_outlines, write_outlines
from maskcond.annotations.kumar import read_kumar
from maskcond.annotations.labelled_images import (
    LabelledImage,
    LabelledImages,
    labelled,
    labels_of_instances,
    picture_folder,
    read_labels,
)
from maskcond.annotations.outlines import Outline, Polygon, draw_instances, draw_labels, trace_outlines
from maskcond.cascades.class_balance import ClassBalance
from maskcond.conditions import KUMAR_COLOURS, KUMAR_CONDITIONS, Category, ConditionSet, Number
from maskcond.errors import AnnotationError, ConditionError, ImageSetError, MaskcondError, MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Channels, Image, Instances, Labels
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.classes import KIDNEY, KUMAR, KUMAR_BORDER, ClassSet, MaskClass
from maskcond.masks.codec import MaskCodec
from maskcond.masks.colours import colour_statistics
from maskcond.masks.distances import distance_map
from maskcond.masks.instances import (
    border_labels,
    check_instances,
    connected_components,
    instances_from_borders,
    relabel,
    remove_fragments,
    split_parts,
)
from maskcond.masks.points import point_map
from maskcond.metrics import PanopticQuality, SegmentationScores, aji, aji_plus, dice, mean_scores, pq, score
from run_folder import lazy_names

if TYPE_CHECKING:
    from maskcond.cascades.mask_cascade import MaskCascade, MaskInput
    from maskcond.cascades.mask_channels import MaskChannels, Shows
    from maskcond.cascades.mask_diffusion import (
        MaskDiffusion,
        MaskPictureExamples,
        MaskPictures,
        instances_of_labels,
        sample_masks,
    )
    from maskcond.cascades.mask_diffusion_training import (
        MASK_DIFFUSION_PLANS,
        MaskDiffusionNetwork,
        MaskDiffusionPlan,
        train_mask_diffusion,
    )
    from maskcond.cascades.mask_examples import MaskExamples
    from maskcond.cascades.mask_plan import MASK_PLANS, MaskNetworkPlan, MaskPlan, mask_plan_text, read_mask_plan
    from maskcond.cascades.mask_training import train_mask_cascade
    from maskcond.cascades.sampling import SampledImage, sample_images
    from maskcond.cascades.widening import add_embedding, widen_for_masks

__all__ = [
    "KIDNEY",
    "KUMAR",
    "KUMAR_BORDER",
    "KUMAR_COLOURS",
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
    "ConditionSet",
    "Image",
    "ImageRecord",
    "ImageSetError",
    "Instances",
    "LabelledImage",
    "LabelledImages",
    "Labels",
    "MaskCascade",
    "MaskChannels",
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
    "Number",
    "Outline",
    "PanopticQuality",
    "Polygon",
    "SampledImage",
    "SegmentationScores",
    "Shows",
    "add_embedding",
    "aji",
    "aji_plus",
    "augment",
    "border_labels",
    "check_instances",
    "colour_statistics",
    "connected_components",
    "dice",
    "distance_map",
    "draw_instances",
    "draw_labels",
    "instances_from_borders",
    "instances_of_labels",
    "labelled",
    "labels_of_instances",
    "mask_plan_text",
    "mean_scores",
    "picture_folder",
    "point_map",
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

__getattr__ = lazy_names(
    __name__,
    {
        "cascades.mask_diffusion": (
            "MaskDiffusion",
            "MaskPictureExamples",
            "MaskPictures",
            "instances_of_labels",
            "sample_masks",
        ),
        "cascades.mask_diffusion_training": (
            "MASK_DIFFUSION_PLANS",
            "MaskDiffusionNetwork",
            "MaskDiffusionPlan",
            "train_mask_diffusion",
        ),
        "cascades.mask_cascade": (
            "MaskCascade",
            "MaskInput",
        ),
        "cascades.mask_channels": (
            "MaskChannels",
            "Shows",
        ),
        "cascades.mask_examples": ("MaskExamples",),
        "cascades.mask_plan": (
            "MASK_PLANS",
            "MaskNetworkPlan",
            "MaskPlan",
            "mask_plan_text",
            "read_mask_plan",
        ),
        "cascades.mask_training": ("train_mask_cascade",),
        "cascades.sampling": (
            "SampledImage",
            "sample_images",
        ),
        "cascades.widening": (
            "add_embedding",
            "widen_for_masks",
        ),
    },
)
