"""Training plans of mask-conditioned cascades: in Python, in TOML, and by name."""

from dataclasses import replace
from pathlib import Path

import tomli_w
from pydantic import field_validator
from pydantic.dataclasses import dataclass

from cdm_core import CascadeConfig, SamplingConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.config_file import STRICT, dump_config, parse_config, read_toml
from cdm_core.distillation.finishing import FinishingPlan
from cdm_core.presets import preset
from maskcond.cascades.class_balance import ClassBalance
from maskcond.cascades.mask_cascade import MaskInput
from maskcond.cascades.mask_examples import ANYWHERE
from maskcond.conditions import KUMAR_CONDITIONS, ConditionSet, Number
from maskcond.masks.augmentation import Augmentation
from maskcond.masks.classes import KIDNEY, KUMAR, KUMAR_BORDER, ClassSet


@dataclass(frozen=True, config=STRICT)
class MaskNetworkPlan:
    """The training plan of one network.

    Args:
        stage: Stage without `cond_images_channels` and `text_embed_dim`, which follow from masks and conditions.
        training: Training on annotated pairs.
        blank_training: Training before that, on images with blank masks; None: skipped.
        finishing: Finishing of its student after that, on annotated pairs, see `cdm_core.distillation.finishing`; None:
            skipped. The student takes `finishing.steps` steps, and needs no distillation before.

    Raises:
        ValueError: The network cannot be finished, or `finishing.steps` is missing.
    """

    stage: StageConfig
    training: TrainingConfig
    blank_training: TrainingConfig | None = None
    finishing: FinishingPlan | None = None

    def __post_init__(self) -> None:
        if self.finishing is not None:
            self.finishing.student(self.stage)

    @property
    def phases(self) -> dict[str, TrainingConfig | FinishingPlan]:
        """The phases of the training by their names, in order."""
        phases = {"blank": self.blank_training, "pairs": self.training, "finished": self.finishing}
        return {name: phase for name, phase in phases.items() if phase is not None}

    @property
    def training_steps(self) -> int:
        """Number of steps of all phases together."""
        finishing = None if self.finishing is None else self.finishing.training
        return sum(phase.steps for phase in (self.blank_training, self.training, finishing) if phase is not None)


@dataclass(frozen=True, config=STRICT)
class MaskPlan:
    """The training plan of a mask-conditioned cascade.

    Args:
        input: Masks and conditions.
        networks: Networks from the smallest images to the largest.
        augmentation: Augmentation of the crops; `crop_px` is required.
        drop_condition: Share of the examples in which a condition is dropped, independently of the others. For
            guidance, each network's `training.drop_embedding` drops all of them together.
        balance: Sampling of the crops of annotated images.

    Raises:
        ValueError: The stages do not make a cascade or already take images or an embedding, or crops are smaller than
            the last stage's images.
    """

    input: MaskInput
    networks: tuple[MaskNetworkPlan, ...]
    augmentation: Augmentation
    drop_condition: float = 0.1
    balance: ClassBalance = ANYWHERE

    @field_validator("augmentation")
    @classmethod
    def _says_crop_px(cls, augmentation: Augmentation) -> Augmentation:
        if augmentation.crop_px is None:
            raise ValueError("crop_px is wanted: the side of the crops, in pixels of the images")
        return augmentation

    def __post_init__(self) -> None:
        for network in self.networks:
            unet = network.stage.unet
            if unet.cond_images_channels or unet.text_embed_dim is not None:
                raise ValueError(
                    "cond_images_channels and text_embed_dim follow from the masks and the conditions: leave them out"
                )
        last = self.cascade.stages[-1].image_px
        if (self.augmentation.crop_px or 0) < last:
            raise ValueError(f"crop_px {self.augmentation.crop_px} is under the last stage's image_px {last}")
        if not 0 <= self.drop_condition <= 1:
            raise ValueError(f"drop_condition lies in [0, 1], got {self.drop_condition}")

    @property
    def cascade(self) -> CascadeConfig:
        """The stages, with the channels of masks and the embedding of conditions."""
        channels, schema = self.input.channels.count, self.input.schema
        width = None if schema is None else schema.width
        return CascadeConfig(
            tuple(
                replace(
                    network.stage,
                    unet=replace(network.stage.unet, cond_images_channels=channels, text_embed_dim=width),
                )
                for network in self.networks
            )
        )


def read_mask_plan(path: Path) -> MaskPlan:
    """Reads a plan from a TOML file, or returns the plan of a name; a file of that name has precedence.

    Raises:
        ConfigError: The plan is missing, is not TOML, or has an unknown key or a wrong value.
    """
    if str(path) in MASK_PLANS and not path.is_file():
        return MASK_PLANS[str(path)]
    values = read_toml(path, missing=f"no such plan; known names are {', '.join(MASK_PLANS)}")
    return parse_config(MaskPlan, values, str(path))


def mask_plan_text(plan: MaskPlan) -> str:
    """Returns a plan as TOML."""
    return tomli_w.dumps(dump_config(plan))


def _study_plan(
    name: str,
    classes: ClassSet,
    conditions: ConditionSet,
    augmentation: Augmentation,
    balance: ClassBalance = ANYWHERE,
) -> MaskPlan:
    """A plan with the study's networks and numbers of steps."""
    chosen = preset(name)
    networks = []
    for i, (stage, training) in enumerate(zip(chosen.cascade.stages, chosen.training, strict=True)):
        plain = replace(stage, unet=replace(stage.unet, cond_images_channels=0, text_embed_dim=None))
        if chosen.fine_tuning:
            networks.append(MaskNetworkPlan(plain, chosen.fine_tuning[i], blank_training=training))
        else:
            networks.append(MaskNetworkPlan(plain, training))
    return MaskPlan(MaskInput.of(classes, conditions), tuple(networks), augmentation, balance=balance)


KIDNEY_CONDITIONS = ConditionSet(
    (
        Number("outcome", centre=0.0, scale=1.0),
        Number("days", centre=365.0, scale=365.0),
        Number("creatinine", centre=150.0, scale=100.0),
    )
)
"""The study's conditions of kidney transplants: outcome, days since the transplantation, creatinine in umol/l."""

SMALL_UNET = UnetConfig(
    dim=32,
    dim_mults=(1, 2, 4),
    cond_dim=64,
    num_resnet_blocks=1,
    layer_attns=(False, False, True),
    layer_cross_attns=False,
    attn_heads=4,
    attn_dim_head=32,
    init_cross_embed=False,
    init_conv_kernel_size=3,
)
SMALL_UPPER_UNET = replace(
    SMALL_UNET,
    dim=16,
    layer_attns=False,
    attend_at_middle=False,
    memory_efficient=True,
    init_conv_to_final_conv_residual=True,  # without it, fine noise is lost at once and training takes far longer
)
_SMALL_TRAINING = TrainingConfig(900, 16, learning_rate=5e-4, warmup_steps=50, ema_decay=0.99, checkpoint_every=100)

KUMAR_SMALL = MaskPlan(
    MaskInput.of(KUMAR, KUMAR_CONDITIONS),
    (
        MaskNetworkPlan(
            StageConfig(32, SMALL_UNET, sampling=SamplingConfig(24, "dpmpp_2m")),
            _SMALL_TRAINING,
            blank_training=replace(_SMALL_TRAINING, steps=150),
        ),
        MaskNetworkPlan(
            StageConfig(64, SMALL_UPPER_UNET, lowres_px=32, sampling=SamplingConfig(12, "dpmpp_2m", lowres_noise=0.1)),
            replace(_SMALL_TRAINING, steps=500, learning_rate=1e-3),
            blank_training=replace(_SMALL_TRAINING, steps=100, learning_rate=1e-3),
        ),
    ),
    Augmentation(crop_px=128, colour=0.1),
)
"""A quick test: KUMAR at half its scale, 64 px images, minutes on two cores."""

KUMAR_SMALL_BORDERS = replace(KUMAR_SMALL, input=MaskInput.of(KUMAR_BORDER, KUMAR_CONDITIONS))
"""The same with the borders of nuclei, so that masks and sampled images show which nuclei touch."""

KUMAR_SMALL_DISTANCES = replace(KUMAR_SMALL, input=MaskInput.of(KUMAR_BORDER, KUMAR_CONDITIONS, "distances"))
"""The same with the distance maps of the nuclei as one more channel."""

_FEW_BASE, _FEW_UPPER = KUMAR_SMALL_DISTANCES.networks
KUMAR_FEW = replace(
    KUMAR_SMALL_DISTANCES,
    networks=(
        replace(
            _FEW_BASE,
            training=replace(_FEW_BASE.training, steps=2000),
            blank_training=replace(_SMALL_TRAINING, steps=400),
        ),
        replace(
            _FEW_UPPER,
            training=replace(_FEW_UPPER.training, steps=1200),
            blank_training=replace(_SMALL_TRAINING, steps=300, learning_rate=1e-3),
            finishing=FinishingPlan(replace(FinishingPlan().training, steps=800), steps=4),
        ),
    ),
)
"""The same for few annotated images: trained for longer, and finished on real images."""

MASK_PLANS: dict[str, MaskPlan] = {
    "kumar-small": KUMAR_SMALL,
    "kumar-small-borders": KUMAR_SMALL_BORDERS,
    "kumar-small-distances": KUMAR_SMALL_DISTANCES,
    "kumar-few": KUMAR_FEW,
    "kumar": _study_plan("kumar", KUMAR, KUMAR_CONDITIONS, Augmentation(crop_px=256)),
    "kidney": _study_plan("kidney-masks", KIDNEY, KIDNEY_CONDITIONS, Augmentation(crop_px=1024), ClassBalance(0.5)),
}
"""Plans by name: small ones, and the study's. The study's masks had no channel that marks a given mask, and its
conditions no entry for 'not given'; kidney crops were not balanced by class."""
