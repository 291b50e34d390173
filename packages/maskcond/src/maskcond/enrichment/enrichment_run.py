"""The run of an enrichment: the steps that follow from its configuration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskcond.annotations.annotated_images import TRAIN
from maskcond.conditions import Given
from maskcond.enrichment.cascade_steps import cascade_steps
from maskcond.enrichment.config import EnrichmentConfig, config_text
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.models import Models
from maskcond.enrichment.pairs.pair_steps import pair_steps
from maskcond.enrichment.pairs.synthetic_pairs import SyntheticPairs
from maskcond.enrichment.real_images import open_real_images
from maskcond.enrichment.run_inputs import RunInputs
from maskcond.enrichment.run_paths import RunPaths
from maskcond.enrichment.steps.run import StepEvent, StepRun
from maskcond.enrichment.strategies.strategy import STRATEGIES
from maskcond.enrichment.strategies.strategy_steps import StrategySteps
from maskcond.masks.classes import check_class_names
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask
from run_folder import whole_file

CONFIG_FILE = "config.toml"


class EnrichmentRun:
    """An enrichment in its folder: all steps from the real images to the table.

    Args:
        config: Configuration of the enrichment.
        folder: Folder of the run.
        models: Models of the configuration.

    Raises:
        MaskcondError: The real images cannot be used, or a given model is missing.
    """

    def __init__(self, config: EnrichmentConfig, folder: Path, models: Models) -> None:
        task: SegmentationTask = NucleiTask() if config.data.masks == "nuclei" else SemanticTask(models.classes)
        check_class_names(task.classes)  # the pairs are exported as an nnU-Net data set at the end
        real = open_real_images(config.data, models.classes, seed=config.sampling.seed)
        self.inputs = RunInputs(config, models, real, task, RunPaths(config, folder))
        self._check_conditions()
        self._check_pseudo_labels()
        strategies = StrategySteps(self.inputs)
        self.run = StepRun(
            folder,
            [
                *cascade_steps(self.inputs),
                *strategies.segmenter(),
                *pair_steps(self.inputs, SyntheticPairs(config, models, real, task)),
                *strategies.comparison(),
            ],
        )

    def carry_out(self, *, overwrite: bool = False, files: Sequence[str] = ()) -> Iterator[StepEvent]:
        """Runs the steps that are not done; see `StepRun.carry_out`. The configuration is saved as `config.toml`."""
        for number, event in enumerate(self.run.carry_out(overwrite=overwrite, files=(CONFIG_FILE, *files))):
            if not number:  # the first event shows that the run was not refused
                with whole_file(self.run.folder / CONFIG_FILE) as partial_file:
                    partial_file.write_text(config_text(self.inputs.config), encoding="utf-8")
            yield event

    def _check_conditions(self) -> None:
        """Checks the conditions against those of the mask-conditioned cascade, before any step runs."""
        given: list[Given] = [*self.inputs.config.sampling.given]
        if self.inputs.config.mask_cascade.plan is not None and self.inputs.models.conditions is not None:
            given += [real.given for real in self.inputs.real.of(TRAIN)]
        for conditions in given:
            if self.inputs.models.conditions is None:
                raise EnrichmentError("sampling.given: the mask-conditioned cascade takes no conditions; leave it out")
            self.inputs.models.conditions.encode(conditions)

    def _check_pseudo_labels(self) -> None:
        """Checks that there are unannotated images if a strategy learns from their predicted masks."""
        names = [name for name in self.inputs.config.segmentation.strategies if STRATEGIES[name].pseudo_labels]
        if names and not len(self.inputs.real.unannotated or ()):
            raise EnrichmentError(
                f"strategy {names[0]} learns from unannotated images, and there are none: give data.unannotated or "
                "data.annotated"
            )
