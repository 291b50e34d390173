"""Enrichment: synthetic pairs of images and masks, and segmentation models that learn from them.

Source: the reference for its steps is docs/method.md, and the README of enrich-app tells how it is run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.steps.estimates import Estimate, estimate, free_bytes
from maskcond.enrichment.steps.run import State, StepEvent, StepRun, StepStatus
from maskcond.enrichment.steps.step import Progress, Step
from maskcond.enrichment.strategies import STRATEGIES, Strategy

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

_WITH_TORCH = {
    "EnrichmentConfig": "config",
    "config_text": "config",
    "read_enrichment_config": "config",
    "EnrichmentRun": "enrichment_run",
    "TrainedModels": "trained_models",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'maskcond.enrichment' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"maskcond.enrichment.{_WITH_TORCH[name]}"), name)
    return found
