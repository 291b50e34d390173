"""FID, patch-FID, KID and their kin: figures that can be trusted and repeated."""

from pfid.errors import ExtractorError, FeatureError, FigureError, ImageError, PfidError, PlanError
from pfid.extractors import CallableExtractor, Extractor
from pfid.figures import Figure
from pfid.frechet import frechet_distance
from pfid.image_features import FeatureBatch, Features, collect_features, extract_features, feature_batches
from pfid.image_figures import feature_figures, fid
from pfid.image_files import folder_images, open_picture
from pfid.images import Images, ImageSource, Picture, array_images, region_images
from pfid.inception import Inception, download_inception
from pfid.kernel import Kid, kid
from pfid.light import Light
from pfid.memorisation import Memorisation, Pair, memorisation
from pfid.neighbours import Prdc, nearest, prdc
from pfid.pair_picture import closest_pairs_picture
from pfid.statistics import FeatureStatistics, StatisticsAccumulator

__all__ = [
    "CallableExtractor",
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
    "PfidError",
    "Picture",
    "PlanError",
    "Prdc",
    "StatisticsAccumulator",
    "array_images",
    "closest_pairs_picture",
    "collect_features",
    "download_inception",
    "extract_features",
    "feature_batches",
    "feature_figures",
    "fid",
    "folder_images",
    "frechet_distance",
    "kid",
    "memorisation",
    "nearest",
    "open_picture",
    "prdc",
    "region_images",
]
