"""The run of an enrichment: the steps that follow from its configuration."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from cdm_core.config_file import dump_config
from maskcond.annotations.annotated_images import TRAIN
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.conditions import Given
from maskcond.enrichment.config import EnrichmentConfig, config_text
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.models import Models
from maskcond.enrichment.pairs.synthetic_pairs import (
    DATASET,
    DRAWN_DROPPED_FILE,
    DRAWN_FILE,
    DROPPED_FILE,
    PAIRS_FILE,
    PROVENANCE_FILE,
    SyntheticPairs,
)
from maskcond.enrichment.real_images import PairSource, conditioning_labels, open_real_images
from maskcond.enrichment.run_paths import (
    CASCADE,
    FILTERED_PAIRS,
    FINISHED_CASCADE,
    MASK_CASCADE,
    MASK_DIFFUSION,
    PLANS,
    PREDICTED_MASKS,
    SAMPLED_IMAGES,
    SAMPLED_MASKS,
    SYNTHETIC_PAIRS,
    TABLE,
    VARIANTS,
    RunPaths,
    evaluation_step,
    training_step,
)
from maskcond.enrichment.steps.digests import digest_folder
from maskcond.enrichment.steps.run import StepEvent, StepRun
from maskcond.enrichment.steps.step import Progress, Step
from maskcond.enrichment.strategies import STRATEGIES, StrategyName, with_starts
from maskcond.enrichment.strategy_models import MODEL, SCORES_FILE, StrategyModels
from maskcond.enrichment.strategy_table import ImageScores, make_table, read_scores, write_table
from maskcond.masks.classes import ClassSet, check_class_names
from maskcond.segmentation.tasks import NucleiTask, SegmentationTask, SemanticTask
from run_folder import whole_file

CONFIG_FILE, TABLE_FILE = "config.toml", "table.json"
TRAINING_FILES = ("plan.toml", "[0-9]*-*/**/*")
"""Files of a training besides its model: the plan, and a folder for each network and phase, such as '64-images'."""
STATE_BYTES, MODEL_BYTES = 16, 4
"""Bytes of a weight in a training's state (weight, moving average, two moments) and in a model."""
COMPRESSED = 0.75
"""Approximate compression of tissue by PNG."""


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
        self.config, self.models = config, models
        self.task: SegmentationTask = NucleiTask() if config.data.masks == "nuclei" else SemanticTask(models.classes)
        check_class_names(self.task.classes)  # the pairs are exported as an nnU-Net data set at the end
        self.real = open_real_images(config.data, models.classes)
        self._check_conditions()
        self.pairs = SyntheticPairs(config, models, self.real, self.task)
        self.strategies = StrategyModels(config, models, self.real, self.task)
        self.training_digest = f"{self.real.digest(TRAIN)} {self.real.digest_unannotated()}"
        self.paths = RunPaths(config, folder)
        self.run = StepRun(folder, [*self._cascade_steps(), *self._pair_steps(), *self._segmentation_steps()])

    def carry_out(self, *, overwrite: bool = False, files: Sequence[str] = ()) -> Iterator[StepEvent]:
        """Runs the steps that are not done; see `StepRun.carry_out`. The configuration is saved as `config.toml`."""
        for number, event in enumerate(self.run.carry_out(overwrite=overwrite, files=(CONFIG_FILE, *files))):
            if not number:  # the first event shows that the run was not refused
                with whole_file(self.run.folder / CONFIG_FILE) as partial_file:
                    partial_file.write_text(config_text(self.config), encoding="utf-8")
            yield event

    def _cascade_steps(self) -> Iterator[Step]:
        config = self.config
        networks = () if config.mask_cascade.plan is None else config.mask_cascade.plan.networks
        finishing = config.cascade.finishing or {}
        plan = {} if config.mask_cascade.plan is None else dump_config(config.mask_cascade.plan)
        shape = {key: plan.get(key) for key in ("input", "augmentation")}
        if config.cascade.training:
            yield Step(
                CASCADE,
                "train the unconditional cascade",
                lambda folder: self.models.train_cascade(folder, self._unmasked()),
                ("model",),
                {
                    **shape,
                    "stages": [network["stage"] for network in plan["networks"]],
                    "training": dump_config(config.cascade)["training"],
                    "images": self.training_digest,
                },
                units=sum(training.steps for training in config.cascade.training),
                kind=CASCADE,
                fixed_bytes=lambda: self._cascade_bytes([1 for _ in networks]),
                work_files=TRAINING_FILES,
            )
        if finishing:
            yield Step(
                FINISHED_CASCADE,
                "finish the unconditional cascade",
                lambda folder: self.models.finish_cascade(folder, self._unmasked(), self.paths.cascade),
                ("model",),
                {"finishing": dump_config(config.cascade)["finishing"], **shape, "images": self.training_digest},
                (CASCADE,),
                units=sum(plan.training.steps for plan in finishing.values()),
                kind=FINISHED_CASCADE,
                fixed_bytes=lambda: self._cascade_bytes([network.stage.image_px in finishing for network in networks]),
                work_files=TRAINING_FILES,
            )
        if config.mask_cascade.plan is not None:
            yield Step(
                MASK_CASCADE,
                "train the mask-conditioned cascade",
                lambda folder: self.models.train_mask_cascade(
                    folder, self._masked(), self.real.unannotated, self.paths.cascade
                ),
                ("model",),
                {"plan": plan, "images": self.training_digest, **self._taken(config.cascade.folder, "cascade")},
                self._if_step(CASCADE, bool(config.cascade.training)),
                units=sum(network.training_steps for network in networks),
                kind=MASK_CASCADE,
                fixed_bytes=lambda: self._cascade_bytes([len(network.phases) for network in networks]),
                work_files=TRAINING_FILES,
            )

        mask_plan = config.mask_diffusion.plan
        if mask_plan is not None:
            yield Step(
                MASK_DIFFUSION,
                "train the diffusion model of masks",
                lambda folder: self.models.train_mask_diffusion(folder, self._masked(self.task.classes)),
                ("model",),
                {"plan": dump_config(mask_plan), "images": self.real.digest(TRAIN)},
                units=sum(network.training.steps for network in mask_plan.networks),
                kind=MASK_DIFFUSION,
                work_files=TRAINING_FILES,
            )

    def _pair_steps(self) -> Iterator[Step]:
        config, sampling, pairs = self.config, self.config.sampling, self.pairs
        picture_bytes = round(self.models.image_px**2 * 3 * COMPRESSED)
        seeded = {"seed": sampling.seed}
        segmenter = self._segmenter_step()
        # the model of strategy 1 predicts the masks of the synthetic pairs
        if segmenter is not None:
            yield from self._plans_step()
            yield self._training_step("1", 0)
        yield Step(
            SAMPLED_IMAGES,
            "sample images from the unconditional cascade",
            lambda folder: pairs.sample_images(folder, self.paths.finished_cascade),
            ("images",),
            {"images": sampling.images, **seeded, **self._taken(config.cascade.folder, "cascade")},
            self._if_step(FINISHED_CASCADE if config.cascade.finishing else CASCADE, bool(config.cascade.training)),
            units=sampling.images,
            kind=SAMPLED_IMAGES,
            unit_bytes=picture_bytes,
        )
        yield Step(
            PREDICTED_MASKS,
            "predict masks of the sampled images",
            lambda folder: pairs.predict_masks(folder, self.paths.of(SAMPLED_IMAGES), self.paths.segmenter),
            ("masks",),
            self._taken(config.segmentation.folder, "segmentation"),
            (SAMPLED_IMAGES, *([segmenter] if segmenter else [])),
            units=sampling.images,
            kind=PREDICTED_MASKS,
            unit_bytes=picture_bytes // 30,
        )
        masks, count = [PREDICTED_MASKS], sampling.images + sampling.drawn_masks
        if sampling.drawn_masks:
            masks.append(SAMPLED_MASKS)
            yield Step(
                SAMPLED_MASKS,
                "sample more masks",
                lambda folder: pairs.sample_masks(folder, self.paths.mask_diffusion),
                ("masks",),
                {
                    "masks": sampling.drawn_masks,
                    "after": sampling.images,
                    **seeded,
                    **self._taken(config.mask_diffusion.folder, "mask_diffusion"),
                },
                self._if_step(MASK_DIFFUSION, config.mask_diffusion.plan is not None),
                units=sampling.drawn_masks,
                kind=SAMPLED_MASKS,
                unit_bytes=picture_bytes // 30,
            )
        yield Step(
            FILTERED_PAIRS,
            "drop implausible pairs and near-duplicates",
            lambda folder: pairs.filter_pairs(folder, self.paths.of(SAMPLED_IMAGES), self.paths.masks),
            (PAIRS_FILE, *self._if_step(DRAWN_FILE, bool(sampling.drawn_masks))),
            {
                **asdict(config.filter),
                **seeded,
                "scale": config.data.scale,
                "masks": config.data.masks,
                "images": self.training_digest,
            },
            (SAMPLED_IMAGES, *masks),
            units=count,
            kind=FILTERED_PAIRS,
            work_files=(DROPPED_FILE, DRAWN_DROPPED_FILE),
        )
        yield Step(
            VARIANTS,
            "sample images of the masks from the mask-conditioned cascade",
            lambda folder: pairs.sample_variants(
                folder, self.paths.masks, self.paths.of(FILTERED_PAIRS), self.paths.mask_cascade
            ),
            ("images",),
            {
                "variants": sampling.variants,
                "given": list(sampling.given),
                "guidance": sampling.guidance,
                **seeded,
                **self._taken(config.mask_cascade.folder, "mask_cascade"),
            },
            (*masks, FILTERED_PAIRS, *self._if_step(MASK_CASCADE, config.mask_cascade.plan is not None)),
            units=count * sampling.variants,
            kind=VARIANTS,
            unit_bytes=picture_bytes,
        )
        yield Step(
            SYNTHETIC_PAIRS,
            "write the pairs as an nnU-Net dataset",
            lambda folder: pairs.export(
                folder,
                self.paths.masks,
                self.paths.of(FILTERED_PAIRS),
                self.paths.of(VARIANTS),
                self.paths.model_digests(),
            ),
            (DATASET, PROVENANCE_FILE),
            {},
            (*masks, FILTERED_PAIRS, VARIANTS),
            units=count * sampling.variants,
            kind=SYNTHETIC_PAIRS,
            unit_bytes=picture_bytes,
        )

    def _segmentation_steps(self) -> Iterator[Step]:
        chosen = self.config.segmentation
        done = {("1", 0)} if self._segmenter_step() is not None else set()
        if not done:
            yield from self._plans_step()
        for name in with_starts(chosen.strategies):
            for seed in range(chosen.seeds):
                if (name, seed) not in done:
                    yield self._training_step(name, seed)
        models = [(name, seed) for name in chosen.strategies for seed in range(chosen.seeds)]
        for name, seed in models:
            yield self._evaluation_step(name, seed)
        yield Step(
            TABLE,
            "compare the strategies",
            self._write_table,
            (TABLE_FILE,),
            {"strategies": list(chosen.strategies), **asdict(self.config.evaluation)},
            tuple(evaluation_step(name, seed) for name, seed in models),
            kind=TABLE,
        )

    def _plans_step(self) -> Iterator[Step]:
        if self.models.plans_segmentation:
            settings = {"training": dump_config(self.config.segmentation.plan.training), **self._real_settings()}
            yield Step(
                PLANS, "plan the segmentation models", self.strategies.plan, ("plans.json",), settings, kind=PLANS
            )

    def _training_step(self, name: StrategyName, seed: int) -> Step:
        strategy, chosen = STRATEGIES[name], self.config.segmentation
        start = None if strategy.start is None else training_step(strategy.start, seed)
        settings = chosen.plan.training if start is None else chosen.plan.fine_tuning
        reads = (
            *([PLANS] if self.models.plans_segmentation else []),
            *([SYNTHETIC_PAIRS] if strategy.synthetic else []),
            *([start] if start else []),
        )
        used: dict[str, Any] = {"settings": dump_config(settings), "seed": self.config.sampling.seed + seed}
        if strategy.real != "none":
            used |= self._real_settings()
        if strategy.real == "part":
            used["part"] = self.strategies.part(seed)
        return Step(
            training_step(name, seed),
            f"train strategy {name}, seed {seed}: {strategy.about}",
            partial(self._train, name=name, seed=seed),
            (MODEL,),
            {"model": chosen.model, **used},
            reads,
            units=settings.units,
            kind=f"{chosen.model} {'fine-tuning' if start else 'training'}",
        )

    def _train(self, folder: Path, *, name: StrategyName, seed: int) -> Iterator[Progress]:
        strategy = STRATEGIES[name]
        return self.strategies.train(
            folder,
            name,
            seed,
            synthetic=self.paths.of(SYNTHETIC_PAIRS) if strategy.synthetic else None,
            start=None if strategy.start is None else self.paths.of(training_step(strategy.start, seed)),
            plans=self.paths.of(PLANS) / "plans.json" if self.models.plans_segmentation else None,
        )

    def _evaluation_step(self, name: StrategyName, seed: int) -> Step:
        trained, tests = training_step(name, seed), self.real.of(*self.real.splits)
        return Step(
            evaluation_step(name, seed),
            f"score strategy {name}, seed {seed}",
            lambda folder: self.strategies.evaluate(folder, self.paths.of(trained)),
            (SCORES_FILE, "predictions"),
            {"images": self.real.digest(*self.real.splits), "scale": self.config.data.scale},
            (trained,),
            units=len(tests),
            kind="evaluation",
        )

    def _write_table(self, folder: Path) -> Iterator[Progress]:
        chosen, settings = self.config.segmentation, self.config.evaluation
        scores: dict[str, list[list[ImageScores]]] = {
            name: [
                read_scores(self.paths.of(evaluation_step(name, seed)) / SCORES_FILE) for seed in range(chosen.seeds)
            ]
            for name in chosen.strategies
        }
        rows = make_table(scores, resamples=settings.resamples, confidence=settings.confidence)
        write_table(folder / TABLE_FILE, rows, confidence=settings.confidence)
        yield Progress(1, 1)

    def _real_settings(self) -> dict[str, Any]:
        return {"images": self.real.digest(TRAIN), "scale": self.config.data.scale, "masks": self.config.data.masks}

    def _segmenter_step(self) -> str | None:
        """The step whose model predicts the masks; None if a trained model is given."""
        return None if self.config.segmentation.folder is not None else training_step("1", 0)

    def _unmasked(self) -> LabelledImages:
        more = self.real.unannotated
        return self._masked() if more is None else self._masked() + more

    def _masked(self, classes: ClassSet | None = None) -> LabelledImages:
        """The training images at their original scale, with borders that have the task's width after the reduction.

        Args:
            classes: Classes of the labels; None: those of the mask-conditioned cascade.
        """
        task = self.task
        if isinstance(task, NucleiTask):
            task = replace(task, border_px=round(task.border_px / self.config.data.scale))
        to_labels = partial(conditioning_labels, task=task, classes=classes or self.models.classes)
        return LabelledImages(PairSource(real, 1.0, to_labels) for real in self.real.of(TRAIN))

    def _taken(self, folder: Path | None, name: str) -> dict[str, str]:
        """The entry of a given model, which the run does not train, in a step's settings."""
        return {} if folder is None else {name: digest_folder(folder)}

    def _cascade_bytes(self, trainings: Sequence[int]) -> int:
        """Disk space of a cascade whose networks have these numbers of trainings, bytes."""
        return sum(
            weights * (STATE_BYTES * count + MODEL_BYTES)
            for weights, count in zip(self.models.count_weights(), trainings, strict=True)
        )

    def _if_step(self, name: str, exists: bool) -> tuple[str, ...]:
        return (name,) if exists else ()

    def _check_conditions(self) -> None:
        """Checks the conditions against those of the mask-conditioned cascade, before any step runs."""
        given: list[Given] = [*self.config.sampling.given]
        if self.config.mask_cascade.plan is not None and self.models.conditions is not None:
            given += [real.given for real in self.real.of(TRAIN)]
        for conditions in given:
            if self.models.conditions is None:
                raise EnrichmentError("sampling.given: the mask-conditioned cascade takes no conditions; leave it out")
            self.models.conditions.encode(conditions)
