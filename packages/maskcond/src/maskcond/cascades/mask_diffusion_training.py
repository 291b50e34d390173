"""Training of a diffusion model of masks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic.dataclasses import dataclass

from cdm_core import CascadeConfig, Examples, SamplingConfig, StageConfig, TrainingConfig
from cdm_core.config_file import STRICT, dump_config
from cdm_core.training.cascade_training import NetworkEvent, train_cascade
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.cascades.class_balance import ClassBalance
from maskcond.cascades.mask_diffusion import MaskDiffusion, MaskPictureExamples, MaskPictures
from maskcond.cascades.mask_examples import ANYWHERE
from maskcond.cascades.mask_plan import SMALL_UNET, SMALL_UPPER_UNET
from maskcond.cascades.network_training import is_main_process, network_trainings, open_run, trained_by
from maskcond.masks.augmentation import Augmentation
from maskcond.masks.classes import KUMAR_BORDER

PHASE = "masks"


@dataclass(frozen=True, config=STRICT)
class MaskDiffusionNetwork:
    """The training plan of one network: its stage and its training."""

    stage: StageConfig
    training: TrainingConfig


@dataclass(frozen=True, config=STRICT)
class MaskDiffusionPlan:
    """The training plan of a diffusion model of masks.

    Args:
        pictures: Classes of the masks.
        networks: Networks from the smallest masks to the largest; usually one.
        augmentation: Augmentation of the crops; `crop_px` is required.
        balance: Sampling of the crops.

    Raises:
        ValueError: The stages do not make a cascade, or crops are smaller than the last stage's masks.
    """

    pictures: MaskPictures
    networks: tuple[MaskDiffusionNetwork, ...]
    augmentation: Augmentation
    balance: ClassBalance = ANYWHERE

    def __post_init__(self) -> None:
        last = self.cascade.stages[-1].image_px
        if (self.augmentation.crop_px or 0) < last:
            raise ValueError(f"crop_px {self.augmentation.crop_px} is under the last stage's image_px {last}")

    @property
    def cascade(self) -> CascadeConfig:
        """The stages."""
        return CascadeConfig(tuple(network.stage for network in self.networks))


_SMALL_TRAINING = TrainingConfig(900, 16, learning_rate=5e-4, warmup_steps=50, ema_decay=0.99, checkpoint_every=100)

MASK_DIFFUSION_PLANS: dict[str, MaskDiffusionPlan] = {
    "kumar-small": MaskDiffusionPlan(
        MaskPictures(KUMAR_BORDER.classes),
        (
            MaskDiffusionNetwork(
                StageConfig(32, SMALL_UNET, sampling=SamplingConfig(24, "dpmpp_2m")),
                _SMALL_TRAINING,
            ),
            MaskDiffusionNetwork(
                StageConfig(
                    64, SMALL_UPPER_UNET, lowres_px=32, sampling=SamplingConfig(12, "dpmpp_2m", lowres_noise=0.1)
                ),
                replace(_SMALL_TRAINING, steps=500, learning_rate=1e-3),
            ),
        ),
        Augmentation(crop_px=128),
    )
}
"""Plans by name: KUMAR nuclei at half scale, 64 px masks, for the images of the mask plans 'kumar-small'."""


def train_mask_diffusion(
    plan: MaskDiffusionPlan,
    images: LabelledImages,
    out_dir: Path,
    *,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
    provenance: Mapping[str, str | int | float] | None = None,
) -> Iterator[NetworkEvent]:
    """Trains a diffusion model of masks, an event for each step, and saves it at the end.

    Writes into `out_dir`: `plan.toml`, for each network a folder such as `64-masks` as `cdm_core.train_stage` does, and
    `model`, the folder of a `MaskDiffusion`.

    Args:
        plan: Training plan.
        images: Annotated images.
        out_dir: Folder of the run; made if missing.
        device: Device; 'auto' uses an accelerator if there is one.
        resume: Whether to continue the run in `out_dir`.
        provenance: Provenance for the model's file besides the steps and the date, such as the data.

    Yields:
        An event for each step.

    Raises:
        ConfigError: The plan is not valid, or `out_dir` holds a run and `resume` is false, or a run of another plan.
        MaskcondError: An image or its labels are invalid.
        CheckpointError, TrainingError: As for `cdm_core.train_stage`.
    """
    cascade = plan.cascade
    networks = network_trainings(cascade, [{PHASE: network.training} for network in plan.networks])
    open_run(tomli_w.dumps(dump_config(plan)), out_dir, resume=resume)

    def examples_of(phase: str, training: TrainingConfig) -> tuple[Examples, Examples | None]:
        examples = MaskPictureExamples(
            images,
            plan.pictures,
            image_px=cascade.stages[-1].image_px,
            augmentation=plan.augmentation,
            seed=training.seed,
            balance=plan.balance,
        )
        return examples, None

    trained = yield from train_cascade(networks, examples_of, out_dir, device=device, resume=resume)
    if is_main_process():
        origin = {**(provenance or {}), **trained_by(), **trained.provenance}
        MaskDiffusion(plan.pictures.codec.classes, trained, origin).save(out_dir / "model", overwrite=resume)
