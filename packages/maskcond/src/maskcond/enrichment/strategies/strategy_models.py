"""The work of the strategies' steps: training of the segmentation models, and their scores on the test images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskcond.annotations.annotated_images import TRAIN, read_numbers
from maskcond.annotations.labelled_images import LabelledImage, LabelledImages, Source
from maskcond.enrichment.pairs.pictures import image_name, missing, write_png
from maskcond.enrichment.pairs.synthetic_pairs import synthetic_pairs
from maskcond.enrichment.real_images import PairSource, image_at_scale
from maskcond.enrichment.run_inputs import RunInputs
from maskcond.enrichment.run_paths import MODEL, PLANS, PSEUDO_LABELS, SYNTHETIC_PAIRS, training_step
from maskcond.enrichment.steps.step import Progress
from maskcond.enrichment.strategies.strategy import STRATEGIES, StrategyName
from maskcond.enrichment.strategies.strategy_table import ImageScores, write_scores
from maskcond.metrics import score
from maskcond.segmentation.tasks import SegmentationTask

SCORES_FILE = "scores.json"


class StrategyModels:
    """Trains and scores segmentation models; every method that yields progress is the work of one step.

    Args:
        run: Inputs of the steps.
    """

    def __init__(self, run: RunInputs) -> None:
        self.config, self.models, self.real, self.task, self.paths = (
            run.config,
            run.models,
            run.real,
            run.task,
            run.paths,
        )

    def plan(self, folder: Path) -> Iterator[Progress]:
        """Makes the plans of all segmentation models from the real pairs: `plans.json`."""
        file = folder / "plans.json"
        if not file.exists():
            self.models.plan_segmentation(file, self.real_pairs())
        yield Progress(1, 1)

    def predict_unannotated(self, folder: Path) -> Iterator[Progress]:
        """Predicts the masks of the unannotated images: `masks/NUMBER.png`."""
        images, scale = self.real.unannotated or LabelledImages([]), self.config.data.scale
        todo = missing(folder / "masks", [image_name(number) for number in range(len(images))])
        scaled = (image_at_scale(images[number].image, scale) for number in todo)
        predicted = self.models.open_segmentation_model(self.paths.segmenter).predict(scaled)
        for done, (number, labels) in enumerate(zip(todo, predicted, strict=True), len(images) - len(todo) + 1):
            write_png(folder / "masks" / f"{image_name(number)}.png", self.task.mask(labels))
            yield Progress(done, len(images))

    def train(self, folder: Path, *, name: StrategyName, seed: int) -> Iterator[Progress]:
        """Trains the model of a strategy and a seed, in the folder `model`."""
        strategy, paths = STRATEGIES[name], self.paths
        real = LabelledImages([])
        if strategy.real != "none":
            real = self.real_pairs(self.part(seed) if strategy.real == "part" else None)
        if strategy.pseudo_labels:
            real += self._pseudo_pairs()
        if strategy.synthetic:
            synthetic = synthetic_pairs(paths.of(SYNTHETIC_PAIRS), self.task)
            pairs = mixed(synthetic, real, self.config.segmentation.synthetic_share)
        else:
            pairs = real
        start = None if strategy.start is None else paths.of(training_step(strategy.start, seed)) / MODEL
        plans = paths.of(PLANS) / "plans.json" if self.models.plans_segmentation else None
        model = self.models.segmentation_model(folder / MODEL, kind=strategy.training, plans=plans)
        for event in model.fit(pairs, seed=self.config.sampling.seed + seed, start_from=start):
            yield Progress(event.done, event.total, f"loss {event.loss:.4f}")

    def evaluate(self, folder: Path, *, name: StrategyName, seed: int) -> Iterator[Progress]:
        """Scores the model of a strategy and a seed on each test image: `scores.json`, and masks in `predictions`."""
        tests, scale = self.real.of(*self.real.splits), self.config.data.scale
        (folder / "predictions").mkdir(exist_ok=True)
        truths = (real.read(scale) for real in tests)
        model = self.models.open_segmentation_model(self.paths.of(training_step(name, seed)) / MODEL)
        scores = []
        for done, (real, (image, truth)) in enumerate(zip(tests, truths, strict=True), 1):
            (labels,) = model.predict([image])
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

    def _pseudo_pairs(self) -> LabelledImages:
        """The unannotated images with the labels of their predicted masks."""
        images = self.real.unannotated or LabelledImages([])
        masks = self.paths.of(PSEUDO_LABELS) / "masks"
        return LabelledImages(
            _PseudoSource(source, masks / f"{image_name(number)}.png", self.config.data.scale, self.task)
            for number, source in enumerate(images.sources)
        )


@dataclass(frozen=True)
class _PseudoSource:
    """An unannotated image with the labels of its predicted mask."""

    image: Source
    mask_path: Path
    scale: float
    task: SegmentationTask

    def read(self) -> LabelledImage:
        image = self.image.read()
        labels = self.task.labels(read_numbers(self.mask_path))
        return LabelledImage(image.name, image_at_scale(image.image, self.scale), labels)


def mixed(synthetic: LabelledImages, real: LabelledImages, share: float | None) -> LabelledImages:
    """Joins synthetic and real pairs, and repeats those of one kind so that synthetic pairs have the given share.

    Args:
        synthetic: Synthetic pairs.
        real: Real pairs; none if a strategy learns from synthetic pairs alone.
        share: Share of synthetic pairs, above 0 and below 1, which is met up to rounding; None: each pair once.
    """
    if share is None or not len(synthetic) or not len(real):
        return synthetic + real
    wanted = share / (1 - share)  # synthetic pairs for each real one
    repeats = round(len(synthetic) / (wanted * len(real)))
    if repeats >= 1:
        return synthetic + LabelledImages(real.sources * repeats, real.notes)
    return LabelledImages(synthetic.sources * round(wanted * len(real) / len(synthetic)), synthetic.notes) + real
