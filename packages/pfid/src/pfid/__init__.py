"""FID, patch-FID, KID and their kin: figures that can be trusted and repeated."""

from pfid.errors import ExtractorError, FeatureError, FigureError, ImageError, PfidError, PlanError
from pfid.extractors import CallableExtractor, Extractor
from pfid.figures import Figure
from pfid.statistics import FeatureStatistics, StatisticsAccumulator

__all__ = [
    "CallableExtractor",
    "Extractor",
    "ExtractorError",
    "FeatureError",
    "FeatureStatistics",
    "Figure",
    "FigureError",
    "ImageError",
    "PfidError",
    "PlanError",
    "StatisticsAccumulator",
]
