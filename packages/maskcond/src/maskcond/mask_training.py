"""Training of mask-conditioned cascades: each network on blank masks, then on annotated pairs; then the model."""

import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from cdm_core import Cascade, ConfigError, TrainingConfig
from cdm_core.training import TrainingEvent, check_training, train_stage
from cdm_core.training_state import load_trained
from maskcond.labelled_images import LabelledImages
from maskcond.mask_cascade import MaskCascade
from maskcond.mask_examples import ANYWHERE, MaskExamples
from maskcond.mask_plan import MaskNetworkPlan, MaskPlan, mask_plan_text, read_mask_plan
from maskcond.widening import widen_for_masks

Phase = Literal["blank", "pairs"]


@dataclass(frozen=True)
class MaskTrainingEvent:
    """A step of one network.

    Args:
        network: Side of its images and what it is trained on, such as '64-pairs'; its folder in the run.
        steps: How many it is trained for.
        step: What happened.
    """

    network: str
    steps: int
    step: TrainingEvent


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
) -> Iterator[MaskTrainingEvent]:
    """Trains a mask-conditioned cascade, a step each time the iterator is advanced; at the end saves the model.

    Writes into `out_dir`: `plan.toml`, for each network and phase a folder such as `64-blank` and `64-pairs` as of
    `cdm_core.train_stage`, and `model`, the folder of a `MaskCascade`.

    Args:
        plan: What to train, and how.
        pairs: Annotated images.
        out_dir: Where to; made if missing.
        unannotated: Images for the training on blank masks; the annotated ones without their masks if not given.
        validation: Held-out annotated images.
        start: Trained unconditional cascade, whose stages are the plan's; see `widen_for_masks`. Fresh weights if not
            given, in which case the training on blank masks is that of the unconditional cascade.
        device: 'auto' takes an accelerator where there is one.
        resume: Go on with what is in `out_dir`.
        provenance: What the model's file tells beside the steps and the date, such as the data.

    Yields:
        An event a step.

    Raises:
        ConfigError: The plan cannot be trained so, `start` is of another, or `out_dir` holds a run that is not to be
            resumed, or one of another plan.
        MaskcondError: An image or its labels are not what they should be.
        CheckpointError, TrainingError: As of `cdm_core.train_stage`.
    """
    cascade = plan.cascade
    for stage, network in zip(cascade.stages, plan.networks, strict=True):
        for training in _phases(network).values():
            check_training(stage, training)
    widened = None if start is None else _widened(plan, start)
    _open_run(plan, out_dir, resume=resume)
    steps = []
    for i, network in enumerate(plan.networks):
        initial: nn.Module | None = None if widened is None else widened.cascade.unets[i]
        for phase, training in _phases(network).items():
            name = f"{network.stage.image_px}-{phase}"
            for event in train_stage(
                cascade.stages[i],
                training,
                _examples(plan, pairs, unannotated, phase, training.seed),
                out_dir / name,
                validation=None if validation is None else _examples(plan, validation, None, phase, training.seed),
                device=device,
                initial=initial,
                resume=resume,
            ):
                yield MaskTrainingEvent(name, training.steps, event)
            initial, done = load_trained(out_dir / name / "state.pt", cascade.stages[i])
            steps.append(f"{name} {done} x {training.batch_size}")
    unets = [load_trained(out_dir / f"{stage.image_px}-pairs" / "state.pt", stage)[0] for stage in cascade.stages]
    told = {
        **({f"start_{name}": value for name, value in start.provenance.items()} if start is not None else {}),
        **(provenance or {}),
        "trained_by": f"maskcond {importlib.metadata.version('maskcond')}",
        "steps": "; ".join(steps),
        "weights": "running mean (EMA)",
        "date": datetime.date.today().isoformat(),
    }
    model = MaskCascade(plan.input.codec.classes, Cascade(cascade, unets), plan.input.schema, told)
    model.save(out_dir / "model", dtype=torch.float32)


def _phases(network: MaskNetworkPlan) -> dict[Phase, TrainingConfig]:
    """What a network is trained on, in this order, and how."""
    before: dict[Phase, TrainingConfig] = {} if network.blank_training is None else {"blank": network.blank_training}
    return {**before, "pairs": network.training}


def _examples(
    plan: MaskPlan, pairs: LabelledImages, unannotated: LabelledImages | None, phase: Phase, seed: int
) -> MaskExamples:
    return MaskExamples(
        unannotated if phase == "blank" and unannotated is not None else pairs,
        plan.input.codec,
        image_px=plan.cascade.stages[-1].image_px,
        augmentation=plan.augmentation,
        conditions=plan.input.schema,
        seed=seed,
        drop_condition=plan.drop_condition,
        balance=plan.balance if phase == "pairs" else ANYWHERE,
        blank=phase == "blank",
    )


def _widened(plan: MaskPlan, start: Cascade) -> MaskCascade:
    try:
        widened = widen_for_masks(start, plan.input.codec.classes, plan.input.schema)
    except ValueError as error:
        raise ConfigError(f"the cascade to start from: {error}") from None
    found, wanted = ([stage.unet for stage in config.stages] for config in (widened.cascade.config, plan.cascade))
    if found != wanted:
        raise ConfigError("the networks of the cascade to start from are not the plan's; write the plan to fit them")
    return widened


def _open_run(plan: MaskPlan, out_dir: Path, *, resume: bool) -> None:
    """Leaves the plan in the run's folder, or makes sure that it is the run's."""
    saved = out_dir / "plan.toml"
    if saved.exists() and not resume:
        raise ConfigError(f"{out_dir} holds a run; resume it, or use another folder")
    if saved.exists() and read_mask_plan(saved) != plan:
        raise ConfigError(f"{out_dir} was started with another plan, which is {saved}; resume it with that one")
    out_dir.mkdir(parents=True, exist_ok=True)
    temporary = saved.with_name(f".{saved.name}.tmp")
    temporary.write_text(mask_plan_text(plan), encoding="utf-8")
    temporary.replace(saved)
