"""Enrichment: synthetic pairs of images and masks, and segmentation models that learn from them.

The README of enrich-app describes the steps and the command line.
"""

from typing import TYPE_CHECKING

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.steps.estimates import Estimate, estimate, free_bytes
from maskcond.enrichment.steps.run import State, StepEvent, StepRun, StepStatus
from maskcond.enrichment.steps.step import Progress, Step
from maskcond.enrichment.strategies.strategy import STRATEGIES, Strategy
from run_folder import lazy_names

if TYPE_CHECKING:
    from maskcond.enrichment.config import EnrichmentConfig, config_text, read_enrichment_config
    from maskcond.enrichment.enrichment_run import EnrichmentRun
    from maskcond.enrichment.trained_models import TrainedModels

__all__ = [
    "STRATEGIES",
    "EnrichmentConfig",
    "EnrichmentError",
    "EnrichmentRun",
    "Estimate",
    "Progress",
    "State",
    "Step",
    "StepEvent",
    "StepRun",
    "StepStatus",
    "Strategy",
    "TrainedModels",
    "config_text",
    "estimate",
    "free_bytes",
    "read_enrichment_config",
]

__getattr__ = lazy_names(
    __name__,
    {
        "config": (
            "EnrichmentConfig",
            "config_text",
            "read_enrichment_config",
        ),
        "enrichment_run": ("EnrichmentRun",),
        "trained_models": ("TrainedModels",),
    },
)
