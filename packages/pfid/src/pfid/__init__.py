"""FID, patch-FID, KID and their kin: figures that can be trusted and repeated.

What needs torch is imported when it is first asked for: the processes that read crops start and stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pfid.crops.features import CropFeatures, Progress, measure_crops
from pfid.crops.plan import Crop, CropPlan, WhiteRule
from pfid.crops.planning import plan_crops
from pfid.crops.reading import CropBatch, read_crops
from pfid.errors import ExtractorError, FeatureError, FigureError, ImageError, PfidError, PlanError
from pfid.features.collecting import FeatureBatch, Features, collect_features, extract_features, feature_batches
from pfid.features.extractors import CallableExtractor, Extractor
from pfid.features.statistics import FeatureStatistics, StatisticsAccumulator
from pfid.figures import Figure
from pfid.images.folders import folder_images, open_picture
from pfid.images.sources import Images, ImageSource, Picture, array_images, note_compression, region_images

if TYPE_CHECKING:
    from pfid.copies.memorisation import Memorisation, Pair, least_real_images, memorisation
    from pfid.crops.patch_fid import PatchFid, ScaleFigure, patch_fid, patch_figures
    from pfid.features.inception import Inception, download_inception
    from pfid.features.light import Light
    from pfid.metrics.frechet import frechet_distance
    from pfid.metrics.kernel import Kid, kid
    from pfid.metrics.neighbours import Prdc, nearest, prdc
    from pfid.metrics.whole_images import feature_figures, fid, metrics_left_out
    from pfid.pair_picture import closest_pairs_picture, telling_images_picture
    from pfid.two_sample.classifier import ClassifierConfig
    from pfid.two_sample.classifier_test import ClassifierTest, ScoredImage, classifier_two_sample_test
    from pfid.two_sample.samples import image_group

__all__ = [
    "CallableExtractor",
    "ClassifierConfig",
    "ClassifierTest",
    "Crop",
    "CropBatch",
    "CropFeatures",
    "CropPlan",
    "Extractor",
    "ExtractorError",
    "FeatureBatch",
    "FeatureError",
    "FeatureStatistics",
    "Features",
    "Figure",
    "FigureError",
    "ImageError",
    "ImageSource",
    "Images",
    "Inception",
    "Kid",
    "Light",
    "Memorisation",
    "Pair",
    "PatchFid",
    "PfidError",
    "Picture",
    "PlanError",
    "Prdc",
    "Progress",
    "ScaleFigure",
    "ScoredImage",
    "StatisticsAccumulator",
    "WhiteRule",
    "array_images",
    "classifier_two_sample_test",
    "closest_pairs_picture",
    "collect_features",
    "download_inception",
    "extract_features",
    "feature_batches",
    "feature_figures",
    "fid",
    "folder_images",
    "frechet_distance",
    "image_group",
    "kid",
    "least_real_images",
    "measure_crops",
    "memorisation",
    "metrics_left_out",
    "nearest",
    "note_compression",
    "open_picture",
    "patch_fid",
    "patch_figures",
    "plan_crops",
    "prdc",
    "read_crops",
    "region_images",
    "telling_images_picture",
]

_WITH_TORCH = {
    "ClassifierConfig": "two_sample.classifier",
    "Memorisation": "copies.memorisation",
    "Pair": "copies.memorisation",
    "least_real_images": "copies.memorisation",
    "memorisation": "copies.memorisation",
    "frechet_distance": "metrics.frechet",
    "feature_figures": "metrics.whole_images",
    "fid": "metrics.whole_images",
    "metrics_left_out": "metrics.whole_images",
    "Inception": "features.inception",
    "download_inception": "features.inception",
    "Kid": "metrics.kernel",
    "kid": "metrics.kernel",
    "Light": "features.light",
    "Prdc": "metrics.neighbours",
    "nearest": "metrics.neighbours",
    "prdc": "metrics.neighbours",
    "closest_pairs_picture": "pair_picture",
    "telling_images_picture": "pair_picture",
    "PatchFid": "crops.patch_fid",
    "ScaleFigure": "crops.patch_fid",
    "patch_fid": "crops.patch_fid",
    "patch_figures": "crops.patch_fid",
    "ClassifierTest": "two_sample.classifier_test",
    "ScoredImage": "two_sample.classifier_test",
    "classifier_two_sample_test": "two_sample.classifier_test",
    "image_group": "two_sample.samples",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'pfid' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"pfid.{_WITH_TORCH[name]}"), name)
    return found
