"""Masks and images of histology: read, turned from one form into another, augmented, and compared."""

from maskcond.annotated_images import AnnotatedImage, AnnotatedImages, ImageRecord, read_image, read_instances
from maskcond.annotation_files import read_outlines, write_outlines
from maskcond.area import resize_by_area
from maskcond.arrays import Channels, Image, Instances, Labels
from maskcond.augmentation import Augmentation, augment
from maskcond.classes import KIDNEY, KUMAR, KUMAR_BORDER, ClassSet, MaskClass
from maskcond.codec import MaskCodec
from maskcond.conditions import KUMAR_CONDITIONS, Category, Conditions, Number
from maskcond.errors import AnnotationError, ConditionError, ImageSetError, MaskcondError, MaskError
from maskcond.instances import (
    border_labels,
    connected_components,
    instances_from_borders,
    relabel,
    remove_fragments,
    split_parts,
)
from maskcond.kumar import read_kumar
from maskcond.metrics import PanopticQuality, SegmentationScores, aji, aji_plus, dice, mean_scores, pq, score
from maskcond.outlines import Outline, Polygon, draw_instances, draw_labels, trace_outlines

__all__ = [
    "KIDNEY",
    "KUMAR",
    "KUMAR_BORDER",
    "KUMAR_CONDITIONS",
    "AnnotatedImage",
    "AnnotatedImages",
    "AnnotationError",
    "Augmentation",
    "Category",
    "Channels",
    "ClassSet",
    "ConditionError",
    "Conditions",
    "Image",
    "ImageRecord",
    "ImageSetError",
    "Instances",
    "Labels",
    "MaskClass",
    "MaskCodec",
    "MaskError",
    "MaskcondError",
    "Number",
    "Outline",
    "PanopticQuality",
    "Polygon",
    "SegmentationScores",
    "aji",
    "aji_plus",
    "augment",
    "border_labels",
    "connected_components",
    "dice",
    "draw_instances",
    "draw_labels",
    "instances_from_borders",
    "mean_scores",
    "pq",
    "read_image",
    "read_instances",
    "read_kumar",
    "read_outlines",
    "relabel",
    "remove_fragments",
    "resize_by_area",
    "score",
    "split_parts",
    "trace_outlines",
    "write_outlines",
]
