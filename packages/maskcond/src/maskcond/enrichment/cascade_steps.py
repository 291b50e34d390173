"""The steps that train the cascades and the diffusion model of masks."""

from collections.abc import Iterator, Sequence

from cdm_core.config_file import dump_config
from maskcond.annotations.annotated_images import TRAIN
from maskcond.enrichment.models import Models
from maskcond.enrichment.run_inputs import RunInputs, given_model, step_if
from maskcond.enrichment.run_paths import CASCADE, FINISHED_CASCADE, MASK_CASCADE, MASK_DIFFUSION
from maskcond.enrichment.steps.step import Step

TRAINING_FILES = ("plan.toml", "[0-9]*-*/**/*")
"""Files of a training besides its model: the plan, and a folder for each network and phase, such as '64-images'."""
STATE_BYTES, MODEL_BYTES = 16, 4
"""Bytes of a weight in a training's state (weight, moving average, two moments) and in a model."""


def cascade_steps(run: RunInputs) -> Iterator[Step]:
    """The steps that train the diffusion models that the run is not given."""
    config, models = run.config, run.models
    networks = () if config.mask_cascade.plan is None else config.mask_cascade.plan.networks
    finishing = config.cascade.finishing or {}
    plan = {} if config.mask_cascade.plan is None else dump_config(config.mask_cascade.plan)
    # what the channels of masks show does not matter without masks
    masks = {key: value for key, value in plan.get("input", {}).items() if key != "shows"} or None
    shape = {"input": masks, "augmentation": plan.get("augmentation")}
    if config.cascade.training:
        yield Step(
            CASCADE,
            "train the unconditional cascade",
            lambda folder: models.train_cascade(folder, run.unmasked()),
            ("model",),
            {
                **shape,
                "stages": [network["stage"] for network in plan["networks"]],
                "training": dump_config(config.cascade)["training"],
                "images": run.training_digest,
            },
            units=sum(training.steps for training in config.cascade.training),
            kind=CASCADE,
            fixed_bytes=lambda: _cascade_bytes(models, [1 for _ in networks]),
            work_files=TRAINING_FILES,
        )
    if finishing:
        yield Step(
            FINISHED_CASCADE,
            "finish the unconditional cascade",
            lambda folder: models.finish_cascade(folder, run.unmasked(), run.paths.cascade),
            ("model",),
            {"finishing": dump_config(config.cascade)["finishing"], **shape, "images": run.training_digest},
            (CASCADE,),
            units=sum(plan.training.steps for plan in finishing.values()),
            kind=FINISHED_CASCADE,
            fixed_bytes=lambda: _cascade_bytes(models, [network.stage.image_px in finishing for network in networks]),
            work_files=TRAINING_FILES,
        )
    if config.mask_cascade.plan is not None:
        yield Step(
            MASK_CASCADE,
            "train the mask-conditioned cascade",
            lambda folder: models.train_mask_cascade(folder, run.masked(), run.real.unannotated, run.paths.cascade),
            ("model",),
            {"plan": plan, "images": run.training_digest, **given_model(config.cascade.folder, "cascade")},
            step_if(CASCADE, bool(config.cascade.training)),
            units=sum(network.training_steps for network in networks),
            kind=MASK_CASCADE,
            fixed_bytes=lambda: _cascade_bytes(models, [len(network.phases) for network in networks]),
            work_files=TRAINING_FILES,
        )

    mask_plan = config.mask_diffusion.plan
    if mask_plan is not None:
        yield Step(
            MASK_DIFFUSION,
            "train the diffusion model of masks",
            lambda folder: models.train_mask_diffusion(folder, run.masked(run.task.classes)),
            ("model",),
            {"plan": dump_config(mask_plan), "images": run.real.digest(TRAIN)},
            units=sum(network.training.steps for network in mask_plan.networks),
            kind=MASK_DIFFUSION,
            work_files=TRAINING_FILES,
        )


def _cascade_bytes(models: Models, trainings: Sequence[int]) -> int:
    """Disk space of a cascade whose networks have these numbers of trainings, bytes."""
    return sum(
        weights * (STATE_BYTES * count + MODEL_BYTES)
        for weights, count in zip(models.count_weights(), trainings, strict=True)
    )
