"""The steps that train the strategies' segmentation models and score them on the test images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskcond.annotations.annotated_images import TRAIN
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.models import Models
from maskcond.enrichment.pairs.pictures import write_png
from maskcond.enrichment.pairs.synthetic_pairs import synthetic_pairs
from maskcond.enrichment.real_images import PairSource, RealImages
from maskcond.enrichment.steps.step import Progress
from maskcond.enrichment.strategies import STRATEGIES, StrategyName
from maskcond.enrichment.strategy_table import ImageScores, write_scores
from maskcond.metrics import score
from maskcond.segmentation.tasks import SegmentationTask

MODEL = "model"
"""Name of a model's folder within the folder of the step that trained it."""
SCORES_FILE = "scores.json"


class StrategyModels:
    """Trains and scores segmentation models; every method is the work of one step.

    Args:
        config: Configuration of the enrichment.
        models: Models of the enrichment.
        real: Real images.
        task: Segmentation task of the masks.
    """

    def __init__(self, config: EnrichmentConfig, models: Models, real: RealImages, task: SegmentationTask) -> None:
        self.config, self.models, self.real, self.task = config, models, real, task

    def plan(self, folder: Path) -> Iterator[Progress]:
        """Makes the plans of all segmentation models from the real pairs: `plans.json`."""
        file = folder / "plans.json"
        if not file.exists():
            self.models.plan_segmentation(file, self.real_pairs())
        yield Progress(1, 1)

    def train(
        self,
        folder: Path,
        name: StrategyName,
        seed: int,
        *,
        synthetic: Path | None,
        start: Path | None,
        plans: Path | None,
    ) -> Iterator[Progress]:
        """Trains the model of a strategy and a seed, in the folder `model`."""
        strategy = STRATEGIES[name]
        pairs = LabelledImages([])
        if synthetic is not None:
            pairs += synthetic_pairs(synthetic, self.task)
        if strategy.real == "all":
            pairs += self.real_pairs()
        elif strategy.real == "part":
            pairs += self.real_pairs(self.part(seed))
        model = self.models.segmentation_model(folder / MODEL, fine_tuning=start is not None, plans=plans)
        fit = model.fit(pairs, seed=self.config.sampling.seed + seed, start_from=start and start / MODEL)
        for event in fit:
            yield Progress(event.done, event.total, f"loss {event.loss:.4f}")

    def evaluate(self, folder: Path, model: Path) -> Iterator[Progress]:
        """Scores a model on each test image: `scores.json`, and its masks in `predictions`."""
        tests, scale = self.real.of(*self.real.splits), self.config.data.scale
        (folder / "predictions").mkdir(exist_ok=True)
        truths = (real.read(scale) for real in tests)
        opened, scores = self.models.open_segmentation_model(model / MODEL), []
        for done, (real, (image, truth)) in enumerate(zip(tests, truths, strict=True), 1):
            (labels,) = opened.predict([image])
            predicted = self.task.mask(labels)
            write_png(folder / "predictions" / f"{real.name}.png", predicted)
            scores.append(ImageScores(real.name, real.split, score(truth=truth, predicted=predicted)))
            yield Progress(done, len(tests))
        write_scores(folder / SCORES_FILE, scores)

    def real_pairs(self, names: list[str] | None = None) -> LabelledImages:
        """The real training images with labels: all, or those of the given names."""
        scale = self.config.data.scale
        return LabelledImages(
            PairSource(real, scale, self.task.labels)
            for real in self.real.of(TRAIN)
            if names is None or real.name in names
        )

    def part(self, seed: int) -> list[str]:
        """Names of the real images of strategy 1a, a random subset for each seed."""
        names = [real.name for real in self.real.of(TRAIN)]
        count = max(round(self.config.segmentation.part * len(names)), 1)
        generator = np.random.default_rng([self.config.sampling.seed, seed])
        return sorted(generator.choice(names, count, replace=False).tolist())
