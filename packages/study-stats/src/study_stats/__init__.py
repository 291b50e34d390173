"""Statistics of reader studies in which people tell real images from synthetic ones.

The mixed model and the plots take seconds to import, so they are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from run_folder import lazy_names
from study_stats.analyses.agreement import Agreement, agreement
from study_stats.analyses.clusters import PooledRealism, cluster_bootstrap
from study_stats.analyses.discrimination import Discrimination, ReaderDiscrimination, discrimination
from study_stats.analyses.drift import Drift, ReaderDrift, drift
from study_stats.analyses.equivalence import Equivalence, ReaderEquivalence, equivalence
from study_stats.analyses.realism import ReaderRealism, Realism, realism
from study_stats.analyses.recognised_images import RecognisedImages, recognised_images
from study_stats.analyses.response_times import ResponseTimes, response_times
from study_stats.analyses.versions import VersionComparison, VersionDifference, VersionShare, compare_versions
from study_stats.classifications.counts import SingleCounts
from study_stats.classifications.csv_files import (
    read_classifications,
    read_single_classifications,
    write_classifications,
)
from study_stats.classifications.pairs import Classification, Classifications
from study_stats.classifications.single_images import SingleClassification, SingleClassifications
from study_stats.errors import StudyError
from study_stats.sample_size import (
    SampleSize,
    classifications_for_equivalence,
    classifications_for_power,
    classifications_for_width,
)

if TYPE_CHECKING:
    from study_stats.analyses.mixed_model import MixedModel, mixed_model
    from study_stats.plots import plot_learning, plot_readers, plot_times

__all__ = [
    "Agreement",
    "Classification",
    "Classifications",
    "Discrimination",
    "Drift",
    "Equivalence",
    "MixedModel",
    "PooledRealism",
    "ReaderDiscrimination",
    "ReaderDrift",
    "ReaderEquivalence",
    "ReaderRealism",
    "Realism",
    "RecognisedImages",
    "ResponseTimes",
    "SampleSize",
    "SingleClassification",
    "SingleClassifications",
    "SingleCounts",
    "StudyError",
    "VersionComparison",
    "VersionDifference",
    "VersionShare",
    "agreement",
    "classifications_for_equivalence",
    "classifications_for_power",
    "classifications_for_width",
    "cluster_bootstrap",
    "compare_versions",
    "discrimination",
    "drift",
    "equivalence",
    "mixed_model",
    "plot_learning",
    "plot_readers",
    "plot_times",
    "read_classifications",
    "read_single_classifications",
    "realism",
    "recognised_images",
    "response_times",
    "write_classifications",
]

__getattr__ = lazy_names(
    __name__,
    {
        "analyses.mixed_model": ("MixedModel", "mixed_model"),
        "plots": ("plot_learning", "plot_readers", "plot_times"),
    },
)
