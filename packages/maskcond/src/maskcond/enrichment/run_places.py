"""Where things are in the folder of a run: its steps, and the models that it trained or took."""

from pathlib import Path

from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.pairs.synthetic_pairs import MaskPlaces
from maskcond.enrichment.steps.digests import digest_folder
from maskcond.enrichment.steps.record import StepRecord
from maskcond.enrichment.strategy_models import MODEL

D_PHI, FINISHED, D_XI, MASKS, X1, Y1, DRAWN, PAIRS, X2, EXPORT, PLANS, TABLE = (
    "cascade",
    "finished-cascade",
    "mask-cascade",
    "mask-diffusion",
    "sampled-images",
    "predicted-masks",
    "drawn-masks",
    "filtered-pairs",
    "sampled-variants",
    "synthetic-pairs",
    "segmentation/plans",
    "table",
)
"""The steps' folders."""


class RunPlaces:
    """The places of a run.

    Args:
        config: Of the run, which names models that are taken.
        folder: The run's.
    """

    def __init__(self, config: EnrichmentConfig, folder: Path) -> None:
        self.config, self.folder = config, folder

    def of(self, step: str) -> Path:
        """The folder of a step."""
        return self.folder / step

    @property
    def cascade(self) -> Path:
        """D_phi, from which D_xi starts."""
        return self.config.cascade.folder or self.of(D_PHI) / "model"

    @property
    def finished_cascade(self) -> Path:
        """D_phi, from which images are sampled: the finished one, if it is finished."""
        return self.of(FINISHED) / "model" if self.config.cascade.finishing else self.cascade

    @property
    def mask_cascade(self) -> Path:
        """D_xi."""
        return self.config.mask_cascade.folder or self.of(D_XI) / "model"

    @property
    def mask_diffusion(self) -> Path:
        """The diffusion model of masks."""
        return self.config.mask_diffusion.folder or self.of(MASKS) / "model"

    @property
    def segmenter(self) -> Path:
        """M_theta."""
        return self.config.segmentation.folder or self.of(training_step("1", 0)) / MODEL

    @property
    def masks(self) -> MaskPlaces:
        """The masks Y1."""
        drawn = self.of(DRAWN) if self.config.sampling.drawn_masks else None
        return MaskPlaces(self.of(Y1), drawn, self.config.sampling.images)

    def model_digests(self) -> dict[str, str]:
        """Digests of the models that made the pairs."""
        config = self.config
        models = {
            "D_phi": (config.cascade.folder, FINISHED if config.cascade.finishing else D_PHI),
            "M_theta": (config.segmentation.folder, training_step("1", 0)),
            "D_xi": (config.mask_cascade.folder, D_XI),
        }
        if config.mask_diffusion.is_given:
            models["masks"] = (config.mask_diffusion.folder, MASKS)
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
