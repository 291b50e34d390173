"""The inputs of all steps of a run: its configuration, models, real images, task and paths."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from maskcond.annotations.annotated_images import TRAIN
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.models import Models
from maskcond.enrichment.real_images import PairSource, RealImages, conditioning_labels
from maskcond.enrichment.run_paths import RunPaths, training_step
from maskcond.enrichment.steps.digests import digest_folder
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask


@dataclass(frozen=True, eq=False)
class RunInputs:
    """The inputs of a run's steps.

    Args:
        config: Configuration of the enrichment.
        models: Models of the configuration.
        real: Real images.
        task: Segmentation task of the masks.
        paths: Paths of the run.
    """

    config: EnrichmentConfig
    models: Models
    real: RealImages
    task: SegmentationTask
    paths: RunPaths

    @cached_property
    def training_digest(self) -> str:
        """Digest of all training images, with and without masks."""
        return f"{self.real.digest(TRAIN)} {self.real.digest_unannotated()}"

    @property
    def real_settings(self) -> Mapping[str, Any]:
        """The entry of the real pairs in the settings of a step that trains a segmentation model."""
        return {"images": self.real.digest(TRAIN), "scale": self.config.data.scale, "masks": self.config.data.masks}

    @property
    def segmenter_step(self) -> str | None:
        """The step whose model predicts masks; None if a trained model is given."""
        return None if self.config.segmentation.folder is not None else training_step("1", 0)

    def masked(self, classes: ClassSet | None = None) -> LabelledImages:
        """The annotated training images at their original scale, with borders that have the task's width when reduced.

        Args:
            classes: Classes of the labels; None: those of the mask-conditioned cascade.
        """
        task = self.task
        if isinstance(task, NucleiTask):
            task = replace(task, border_px=round(task.border_px / self.config.data.scale))
        to_labels = partial(conditioning_labels, task=task, classes=classes or self.models.classes)
        return LabelledImages(PairSource(real, 1.0, to_labels) for real in self.real.of(TRAIN))

    def unmasked(self) -> LabelledImages:
        """All training images, for the unconditional cascade."""
        more = self.real.unannotated
        return self.masked() if more is None else self.masked() + more


def given_model(folder: Path | None, name: str) -> dict[str, str]:
    """The entry of a given model, which the run does not train, in a step's settings."""
    return {} if folder is None else {name: digest_folder(folder)}


def step_if(name: str, exists: bool) -> tuple[str, ...]:
    """The name of a step or file if it exists, to join to other names."""
    return (name,) if exists else ()
