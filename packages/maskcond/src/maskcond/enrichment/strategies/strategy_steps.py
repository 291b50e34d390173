"""The steps that train the strategies' segmentation models, score them and compare them."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cdm_core.config_file import dump_config
from maskcond.enrichment.run_inputs import RunInputs, given_model
from maskcond.enrichment.run_paths import (
    MODEL,
    PLANS,
    PSEUDO_LABELS,
    SYNTHETIC_PAIRS,
    TABLE,
    evaluation_step,
    training_step,
)
from maskcond.enrichment.steps.step import Progress, Step
from maskcond.enrichment.strategies.strategy import STRATEGIES, StrategyName, with_starts
from maskcond.enrichment.strategies.strategy_models import SCORES_FILE, StrategyModels
from maskcond.enrichment.strategies.strategy_table import ImageScores, make_table, read_scores, write_table

TABLE_FILE = "table.json"


class StrategySteps:
    """The steps of the strategies.

    Args:
        run: Inputs of the steps.
    """

    def __init__(self, run: RunInputs) -> None:
        self.run, self.chosen, self.strategies = run, run.config.segmentation, StrategyModels(run)

    def segmenter(self) -> Iterator[Step]:
        """The steps that make the model that predicts masks: strategy 1 with the first seed, unless one is given."""
        if self.run.segmenter_step is not None:
            yield from self._plans()
            yield self._training("1", 0)

    def comparison(self) -> Iterator[Step]:
        """All other steps, to the table."""
        done = {("1", 0)} if self.run.segmenter_step is not None else set()
        if not done:
            yield from self._plans()
        if any(STRATEGIES[name].pseudo_labels for name in self.chosen.strategies):
            yield self._pseudo_labels()
        for name in with_starts(self.chosen.strategies):
            for seed in range(self.chosen.seeds):
                if (name, seed) not in done:
                    yield self._training(name, seed)
        models = [(name, seed) for name in self.chosen.strategies for seed in range(self.chosen.seeds)]
        for name, seed in models:
            yield self._evaluation(name, seed)
        yield Step(
            TABLE,
            "compare the strategies",
            self._write_table,
            (TABLE_FILE,),
            {"strategies": list(self.chosen.strategies), **asdict(self.run.config.evaluation)},
            tuple(evaluation_step(name, seed) for name, seed in models),
            kind=TABLE,
        )

    def _plans(self) -> Iterator[Step]:
        if self.run.models.plans_segmentation:
            settings = {"training": dump_config(self.chosen.plan.training), **self.run.real_settings}
            yield Step(
                PLANS, "plan the segmentation models", self.strategies.plan, ("plans.json",), settings, kind=PLANS
            )

    def _pseudo_labels(self) -> Step:
        run = self.run
        return Step(
            PSEUDO_LABELS,
            "predict masks of the unannotated images",
            self.strategies.predict_unannotated,
            ("masks",),
            {
                "images": run.real.digest_unannotated(),
                "scale": run.config.data.scale,
                **given_model(self.chosen.folder, "segmentation"),
            },
            () if run.segmenter_step is None else (run.segmenter_step,),
            units=len(run.real.unannotated or ()),
            kind=PSEUDO_LABELS,
        )

    def _training(self, name: StrategyName, seed: int) -> Step:
        strategy, chosen, run = STRATEGIES[name], self.chosen, self.run
        start = None if strategy.start is None else training_step(strategy.start, seed)
        settings = chosen.plan.settings(strategy.training)
        reads = (
            *([PLANS] if run.models.plans_segmentation else []),
            *([SYNTHETIC_PAIRS] if strategy.synthetic else []),
            *([PSEUDO_LABELS] if strategy.pseudo_labels else []),
            *([start] if start else []),
        )
        used: dict[str, Any] = {"settings": dump_config(settings), "seed": run.config.sampling.seed + seed}
        if strategy.real != "none":
            used |= run.real_settings
        if strategy.real == "part":
            used["part"] = self.strategies.part(seed)
        if strategy.pseudo_labels:
            used["unannotated"] = run.real.digest_unannotated()
        if strategy.mixes and chosen.synthetic_share is not None:
            used["synthetic_share"] = chosen.synthetic_share
        return Step(
            training_step(name, seed),
            f"train strategy {name}, seed {seed}: {strategy.about}",
            partial(self.strategies.train, name=name, seed=seed),
            (MODEL,),
            {"model": chosen.model, **used},
            reads,
            units=settings.units,
            kind=f"{chosen.model} {'fine-tuning' if start else 'training'}",
        )

    def _evaluation(self, name: StrategyName, seed: int) -> Step:
        real, trained = self.run.real, training_step(name, seed)
        return Step(
            evaluation_step(name, seed),
            f"score strategy {name}, seed {seed}",
            partial(self.strategies.evaluate, name=name, seed=seed),
            (SCORES_FILE, "predictions"),
            {"images": real.digest(*real.splits), "scale": self.run.config.data.scale},
            (trained,),
            units=len(real.of(*real.splits)),
            kind="evaluation",
        )

    def _write_table(self, folder: Path) -> Iterator[Progress]:
        chosen, settings, paths = self.chosen, self.run.config.evaluation, self.run.paths
        scores: dict[str, list[list[ImageScores]]] = {
            name: [read_scores(paths.of(evaluation_step(name, seed)) / SCORES_FILE) for seed in range(chosen.seeds)]
            for name in chosen.strategies
        }
        rows = make_table(scores, resamples=settings.resamples, confidence=settings.confidence)
        write_table(folder / TABLE_FILE, rows, confidence=settings.confidence)
        yield Progress(1, 1)
