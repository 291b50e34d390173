"""Training of mask-conditioned cascades: each network on blank masks, then on annotated pairs, then finishing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from cdm_core import Cascade, ConfigError, Examples, StageConfig, TrainingConfig
from cdm_core.training.cascade_training import NetworkEvent, train_cascade
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.cascades.mask_cascade import MaskCascade
from maskcond.cascades.mask_examples import ANYWHERE, MaskExamples
from maskcond.cascades.mask_plan import MaskPlan, mask_plan_text
from maskcond.cascades.network_training import is_main_process, network_trainings, open_run, trained_by
from maskcond.cascades.widening import widen_for_masks


def train_mask_cascade(
    plan: MaskPlan,
    pairs: LabelledImages,
    out_dir: Path,
    *,
    unannotated: LabelledImages | None = None,
    validation: LabelledImages | None = None,
    start: Cascade | None = None,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
    provenance: Mapping[str, str | int | float] | None = None,
) -> Iterator[NetworkEvent]:
    """Trains a mask-conditioned cascade, an event for each step, and saves the model at the end.

    Writes into `out_dir`: `plan.toml`, for each network and phase a folder such as `64-blank`, `64-pairs` and
    `64-finished` as `cdm_core.train_stage` does, and `model`, the folder of a `MaskCascade`. Of a finished network the
    model holds the student, with few steps of DDIM and without guidance.

    Args:
        plan: Training plan.
        pairs: Annotated images.
        out_dir: Folder of the run; made if missing.
        unannotated: Images for the training on blank masks; None: the annotated ones without their masks.
        validation: Held-out annotated images.
        start: Trained unconditional cascade with the plan's stages, see `widen_for_masks`. None: fresh weights, so that
            the training on blank masks is that of the unconditional cascade.
        device: Device; 'auto' uses an accelerator if there is one.
        resume: Whether to continue the run in `out_dir`.
        provenance: Provenance for the model's file besides the steps and the date, such as the data.

    Yields:
        An event for each step.

    Raises:
        ConfigError: The plan is not valid, `start` does not fit the plan, or `out_dir` holds a run and `resume` is
            false, or a run of another plan.
        MaskcondError: An image or its labels are invalid.
        CheckpointError, TrainingError: As for `cdm_core.train_stage`.
    """
    phases = [network.phases for network in plan.networks]
    network_trainings(plan.cascade, phases)  # before the cascade to start from is widened
    initial = None if start is None else _widened(plan, start).cascade.unets
    networks = network_trainings(plan.cascade, phases, initial)
    open_run(mask_plan_text(plan), out_dir, resume=resume)

    def examples_of(phase: str, training: TrainingConfig) -> tuple[Examples, Examples | None]:
        blank = phase == "blank"
        chosen = unannotated if blank and unannotated is not None else pairs
        held_out = None if validation is None else _examples(plan, validation, training.seed, blank=blank)
        return _examples(plan, chosen, training.seed, blank=blank), held_out

    trained = yield from train_cascade(networks, examples_of, out_dir, device=device, resume=resume)
    before = {} if start is None else {f"start_{name}": value for name, value in start.provenance.items()}
    origin = {**before, **(provenance or {}), **trained_by(), **trained.provenance}
    if is_main_process():
        model = MaskCascade(plan.input.codec.classes, trained, plan.input.schema, origin, plan.input.shows)
        model.save(out_dir / "model", overwrite=resume)


def _examples(plan: MaskPlan, images: LabelledImages, seed: int, *, blank: bool) -> MaskExamples:
    return MaskExamples(
        images,
        plan.input.codec,
        image_px=plan.cascade.stages[-1].image_px,
        augmentation=plan.augmentation,
        conditions=plan.input.schema,
        seed=seed,
        drop_condition=plan.drop_condition,
        balance=ANYWHERE if blank else plan.balance,
        blank=blank,
        shows=plan.input.shows,
    )


def _widened(plan: MaskPlan, start: Cascade) -> MaskCascade:
    try:
        widened = widen_for_masks(start, plan.input.codec.classes, plan.input.schema, plan.input.shows)
    except ValueError as error:
        raise ConfigError(f"the cascade to start from: {error}") from None
    if list(map(_kind, widened.cascade.config.stages)) != list(map(_kind, plan.cascade.stages)):
        raise ConfigError("the stages of the cascade to start from are not the plan's; write the plan to fit them")
    return widened


def _kind(stage: StageConfig) -> StageConfig:
    """A stage without the settings that do not affect its weights."""
    return StageConfig(stage.image_px, stage.unet, stage.lowres_px, stage.schedule, stage.objective)
