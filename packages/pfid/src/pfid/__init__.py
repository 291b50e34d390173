"""FID, patch-FID, KID and their kin: figures that can be trusted and repeated.

What needs torch is imported when it is first asked for: the processes that read crops start and stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pfid.crop_features import CropFeatures, Progress, measure_crops
from pfid.crop_planning import plan_crops
from pfid.crop_reading import CropBatch, read_crops
from pfid.crops import Crop, CropPlan, WhiteRule
from pfid.errors import ExtractorError, FeatureError, FigureError, ImageError, PfidError, PlanError
from pfid.extractors import CallableExtractor, Extractor
from pfid.figures import Figure
from pfid.image_features import FeatureBatch, Features, collect_features, extract_features, feature_batches
from pfid.image_files import folder_images, open_picture
from pfid.images import Images, ImageSource, Picture, array_images, note_compression, region_images
from pfid.statistics import FeatureStatistics, StatisticsAccumulator

if TYPE_CHECKING:
    from pfid.classifier import ClassifierConfig
    from pfid.copies import Memorisation, Pair, least_real_images, memorisation
    from pfid.crop_figures import PatchFid, ScaleFigure, patch_fid, patch_figures
    from pfid.frechet import frechet_distance
    from pfid.image_figures import feature_figures, fid, metrics_left_out
    from pfid.inception import Inception, download_inception
    from pfid.kernel import Kid, kid
    from pfid.light import Light
    from pfid.neighbours import Prdc, nearest, prdc
    from pfid.pair_picture import closest_pairs_picture, telling_images_picture
    from pfid.two_sample import ClassifierTest, ScoredImage, classifier_two_sample_test
    from pfid.two_sample_images import image_group

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
    "ClassifierConfig": "classifier",
    "Memorisation": "copies",
    "Pair": "copies",
    "least_real_images": "copies",
    "memorisation": "copies",
    "frechet_distance": "frechet",
    "feature_figures": "image_figures",
    "fid": "image_figures",
    "metrics_left_out": "image_figures",
    "Inception": "inception",
    "download_inception": "inception",
    "Kid": "kernel",
    "kid": "kernel",
    "Light": "light",
    "Prdc": "neighbours",
    "nearest": "neighbours",
    "prdc": "neighbours",
    "closest_pairs_picture": "pair_picture",
    "telling_images_picture": "pair_picture",
    "PatchFid": "crop_figures",
    "ScaleFigure": "crop_figures",
    "patch_fid": "crop_figures",
    "patch_figures": "crop_figures",
    "ClassifierTest": "two_sample",
    "ScoredImage": "two_sample",
    "classifier_two_sample_test": "two_sample",
    "image_group": "two_sample_images",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'pfid' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"pfid.{_WITH_TORCH[name]}"), name)
    return found
