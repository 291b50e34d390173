"""FID, patch-FID, KID and related metrics of generated images, with their provenance.

Names that need torch are imported on first use, so that the processes that read crops start fast and stay small.
"""

from typing import TYPE_CHECKING

from pfid.crops.features import CropFeatures, measure_crops
from pfid.crops.plan import CropPlan, PlannedCrop, WhiteRule
from pfid.crops.planning import plan_crops
from pfid.crops.reading import CropBatch, read_crops
from pfid.errors import (
    ExtractorError,
    FeatureError,
    ImageError,
    MetricError,
    PfidError,
    PlanError,
    TooFewError,
    check_enough,
)
from pfid.features.collecting import FeatureBatch, Features, extract_features, feature_batches
from pfid.features.extractors import CallableExtractor, Extractor
from pfid.features.statistics import FeatureStatistics, StatisticsAccumulator
from pfid.images.folders import folder_images, open_picture
from pfid.images.sources import Images, ImageSource, Picture, array_images, note_compression, region_images
from pfid.metric_value import MetricValue, ScaleMetric
from pfid.progress import Work, WorkProgress
from pfid.results.comparison import ResultTable, comparable_tables
from pfid.results.result import ImageScore, MeasuredSide, Neighbour, Result
from run_folder import lazy_names

if TYPE_CHECKING:
    from pfid.copies.memorisation import Memorisation, Pair, check_real_images, memorisation
    from pfid.crops.patch_fid import PatchFid, patch_fid, patch_metrics
    from pfid.features.inception import Inception, download_inception
    from pfid.features.light import Light
    from pfid.features.torchscript import TorchScriptExtractor
    from pfid.metrics.evaluation import default_metrics, evaluate, fid
    from pfid.metrics.frechet import FrechetMetric, frechet_distance
    from pfid.metrics.kernel import KernelMetric, Kid, kid
    from pfid.metrics.metric import Metric
    from pfid.metrics.neighbours import NeighbourMetric, Prdc, nearest, prdc
    from pfid.pictures.closest_pairs import closest_pairs_picture
    from pfid.pictures.crop_pairs import crop_pairs_picture
    from pfid.pictures.extreme_images import extreme_images_picture
    from pfid.two_sample.classifier import ClassifierConfig
    from pfid.two_sample.classifier_test import ClassifierTest, ScoredImage, classifier_two_sample_test
    from pfid.two_sample.samples import image_group

__all__ = [
    "CallableExtractor",
    "ClassifierConfig",
    "ClassifierTest",
    "CropBatch",
    "CropFeatures",
    "CropPlan",
    "Extractor",
    "ExtractorError",
    "FeatureBatch",
    "FeatureError",
    "FeatureStatistics",
    "Features",
    "FrechetMetric",
    "ImageError",
    "ImageScore",
    "ImageSource",
    "Images",
    "Inception",
    "KernelMetric",
    "Kid",
    "Light",
    "MeasuredSide",
    "Memorisation",
    "Metric",
    "MetricError",
    "MetricValue",
    "Neighbour",
    "NeighbourMetric",
    "Pair",
    "PatchFid",
    "PfidError",
    "Picture",
    "PlanError",
    "PlannedCrop",
    "Prdc",
    "Result",
    "ResultTable",
    "ScaleMetric",
    "ScoredImage",
    "StatisticsAccumulator",
    "TooFewError",
    "TorchScriptExtractor",
    "WhiteRule",
    "Work",
    "WorkProgress",
    "array_images",
    "check_enough",
    "check_real_images",
    "classifier_two_sample_test",
    "closest_pairs_picture",
    "comparable_tables",
    "crop_pairs_picture",
    "default_metrics",
    "download_inception",
    "evaluate",
    "extract_features",
    "extreme_images_picture",
    "feature_batches",
    "fid",
    "folder_images",
    "frechet_distance",
    "image_group",
    "kid",
    "measure_crops",
    "memorisation",
    "nearest",
    "note_compression",
    "open_picture",
    "patch_fid",
    "patch_metrics",
    "plan_crops",
    "prdc",
    "read_crops",
    "region_images",
]

__getattr__ = lazy_names(
    __name__,
    {
        "two_sample.classifier": ("ClassifierConfig",),
        "copies.memorisation": (
            "Memorisation",
            "Pair",
            "check_real_images",
            "memorisation",
        ),
        "crops.patch_fid": (
            "PatchFid",
            "patch_fid",
            "patch_metrics",
        ),
        "features.inception": (
            "Inception",
            "download_inception",
        ),
        "features.light": ("Light",),
        "features.torchscript": ("TorchScriptExtractor",),
        "metrics.evaluation": (
            "default_metrics",
            "evaluate",
            "fid",
        ),
        "metrics.frechet": (
            "FrechetMetric",
            "frechet_distance",
        ),
        "metrics.kernel": (
            "KernelMetric",
            "Kid",
            "kid",
        ),
        "metrics.metric": ("Metric",),
        "metrics.neighbours": (
            "NeighbourMetric",
            "Prdc",
            "nearest",
            "prdc",
        ),
        "pictures.crop_pairs": ("crop_pairs_picture",),
        "pictures.closest_pairs": ("closest_pairs_picture",),
        "pictures.extreme_images": ("extreme_images_picture",),
        "two_sample.classifier_test": (
            "ClassifierTest",
            "ScoredImage",
            "classifier_two_sample_test",
        ),
        "two_sample.samples": ("image_group",),
    },
)
