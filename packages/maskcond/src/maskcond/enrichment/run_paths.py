"""Paths of a run: the folders of its steps, and its models, trained or given."""

from pathlib import Path

from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.pairs.synthetic_pairs import MaskPaths
from maskcond.enrichment.steps.digests import digest_folder
from maskcond.enrichment.steps.record import StepRecord

CASCADE = "cascade"
FINISHED_CASCADE = "finished-cascade"
MASK_CASCADE = "mask-cascade"
MASK_DIFFUSION = "mask-diffusion"
SAMPLED_IMAGES = "sampled-images"
PREDICTED_MASKS = "predicted-masks"
SAMPLED_MASKS = "drawn-masks"
FILTERED_PAIRS = "filtered-pairs"
VARIANTS = "sampled-variants"
AGREEMENT = "agreement"
SYNTHETIC_PAIRS = "synthetic-pairs"
PSEUDO_LABELS = "pseudo-labels"
PLANS = "segmentation/plans"
TABLE = "table"
"""Names of the steps' folders."""
MODEL = "model"
"""Name of a model's folder within the folder of the step that trained it."""


class RunPaths:
    """The paths of a run.

    Args:
        config: Configuration of the run, which names given models.
        folder: Folder of the run.
    """

    def __init__(self, config: EnrichmentConfig, folder: Path) -> None:
        self.config, self.folder = config, folder

    def of(self, step: str) -> Path:
        """The folder of a step."""
        return self.folder / step

    @property
    def cascade(self) -> Path:
        """The unconditional cascade, from which the mask-conditioned one starts."""
        return self.config.cascade.folder or self.of(CASCADE) / MODEL

    @property
    def finished_cascade(self) -> Path:
        """The unconditional cascade that images are sampled from: the finished one, if there is one."""
        return self.of(FINISHED_CASCADE) / MODEL if self.config.cascade.finishing else self.cascade

    @property
    def mask_cascade(self) -> Path:
        """The mask-conditioned cascade."""
        return self.config.mask_cascade.folder or self.of(MASK_CASCADE) / MODEL

    @property
    def mask_diffusion(self) -> Path:
        """The diffusion model of masks."""
        return self.config.mask_diffusion.folder or self.of(MASK_DIFFUSION) / MODEL

    @property
    def segmenter(self) -> Path:
        """The segmentation model that predicts masks."""
        return self.config.segmentation.folder or self.of(training_step("1", 0)) / MODEL

    @property
    def masks(self) -> MaskPaths:
        """The masks of the pairs."""
        drawn = self.of(SAMPLED_MASKS) if self.config.sampling.drawn_masks else None
        return MaskPaths(self.of(PREDICTED_MASKS), drawn, self.config.sampling.images)

    def model_digests(self) -> dict[str, str]:
        """Digests of the models that made the pairs."""
        config = self.config
        models = {
            "cascade": (config.cascade.folder, FINISHED_CASCADE if config.cascade.finishing else CASCADE),
            "segmentation": (config.segmentation.folder, training_step("1", 0)),
            "mask_cascade": (config.mask_cascade.folder, MASK_CASCADE),
        }
        if config.mask_diffusion.is_given:
            models["mask_diffusion"] = (config.mask_diffusion.folder, MASK_DIFFUSION)
        digests = {}
        for name, (taken, step) in models.items():
            record = None if taken is not None else StepRecord.load(self.of(step))
            digests[name] = digest_folder(taken) if taken is not None else record.digest if record else ""
        return digests


def training_step(name: str, seed: int) -> str:
    """The name of the step that trains a strategy with a seed."""
    return f"segmentation/{name}/seed-{seed}"


def evaluation_step(name: str, seed: int) -> str:
    """The name of the step that scores a strategy's model of a seed."""
    return f"evaluation/{name}/seed-{seed}"
