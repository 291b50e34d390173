"""Configurations by name: those of the published study, and those of the small built-in model.

The study's numbers are those of its tables; what a table does not say is the default of imagen-pytorch 1.18.5, which
the study used (noise schedules, conditioning augmentation, thresholding, loss weight, optimiser). Where its text and
its code differ:

- The last network of URCDM has (2, 4, 4, 4) residual blocks in the text and (2, 4, 6, 8) in the code; weights fit one
  of them, so there are two presets, 'urcdm-high' and 'urcdm-high-code', of each magnification.
- KUMAR was sampled in 1000 steps a stage by the code; the preset has the text's (1024, 256). It is no more than the
  default of `steps`.

Choices of ours: low-resolution images are averaged rather than decimated in training, every example has a noise level
of its own in conditioning augmentation, and steps whose gradient is not finite are skipped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdm_core.config import CascadeConfig, SamplingConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.diffusion.objective import Objective


@dataclass(frozen=True)
class Preset:
    """A cascade by name, and how it is trained.

    Args:
        about: What it is.
        cascade: Its stages.
        training: Of each stage.
        fine_tuning: Of each stage, after the training, where the study did so.
    """

    about: str
    cascade: CascadeConfig
    training: tuple[TrainingConfig, ...]
    fine_tuning: tuple[TrainingConfig, ...] = ()


UNET_1 = UnetConfig(
    dim=256,
    dim_mults=(1, 2, 3, 4),
    cond_dim=512,
    num_resnet_blocks=3,
    layer_attns=(False, True, True, True),
    layer_cross_attns=(False, True, True, True),
)
UNET_2 = UnetConfig(
    dim=128,
    dim_mults=(1, 2, 4, 8),
    cond_dim=512,
    num_resnet_blocks=2,
    layer_attns=(False, False, False, True),
    layer_cross_attns=(False, False, True, True),
    init_conv_to_final_conv_residual=True,
    memory_efficient=True,
)
UNET_3 = replace(
    UNET_2, num_resnet_blocks=(2, 4, 4, 4), layer_attns=False, layer_cross_attns=(False, False, False, True)
)
UNET_3_CODE = replace(UNET_3, num_resnet_blocks=(2, 4, 6, 8))

STEPS = (1024, 256, 256)
CROP_PX = (None, None, 256)


def _study_cascade(unets: Sequence[UnetConfig], objectives: Sequence[Objective]) -> CascadeConfig:
    """The study's stages of 64, 256 and 1024 px, as many as there are networks."""
    stages = []
    for i, (unet, objective) in enumerate(zip(unets, objectives, strict=True)):
        stages.append(
            StageConfig(
                image_px=64 * 4**i,
                unet=unet,
                lowres_px=64 * 4 ** (i - 1) if i else None,
                schedule="linear" if i == 2 else "cosine",
                objective=objective,
                lowres_schedule="linear",
                max_lowres_noise=1.0,
                lowres_resize="nearest",
                sampling=SamplingConfig(STEPS[i], "ddpm", lowres_noise=0.2, threshold="dynamic"),
            )
        )
    return CascadeConfig(tuple(stages))


def _study_training(
    steps: Sequence[int], *, batch_size: int = 8, chunk_size: int | None = None, max_grad_norm: float = math.inf
) -> tuple[TrainingConfig, ...]:
    return tuple(
        TrainingConfig(
            steps=count,
            batch_size=batch_size,
            chunk_size=chunk_size,
            learning_rate=1e-4,
            learning_rate_decay="none",
            weight_decay=0.0,
            ema_decay=0.9999,
            max_grad_norm=max_grad_norm,
            loss_weight="p2",
            crop_px=crop_px,
            drop_embedding=0.1,
        )
        for count, crop_px in zip(steps, CROP_PX, strict=False)
    )


def _urcdm(level: str, steps: Sequence[int], last: UnetConfig) -> Preset:
    channels = 0 if level == "low" else 3
    unets = [replace(unet, cond_images_channels=channels) for unet in (UNET_1, UNET_2, last)]
    written = "code" if last == UNET_3_CODE else "text"
    return Preset(
        f"the study's ultra-resolution cascade at {level} magnification, also for AIRS; as in its {written}",
        _study_cascade(unets, ("noise", "v", "v")),
        _study_training(steps, max_grad_norm=1.0),
    )


def _masks(unets: Sequence[UnetConfig], channels: int, embedding: int) -> list[UnetConfig]:
    return [replace(unet, cond_images_channels=channels, text_embed_dim=embedding) for unet in unets]


SMALL_BASE = StageConfig(
    32,
    UnetConfig(
        dim=36,
        dim_mults=(1, 2, 4),
        cond_dim=96,
        num_resnet_blocks=2,
        layer_attns=(False, True, True),
        layer_cross_attns=False,
        attn_heads=4,
        attn_dim_head=32,
        init_cross_embed=False,
        init_conv_kernel_size=3,
    ),
    sampling=SamplingConfig(24, "dpmpp_2m"),
)
SMALL_UPPER_UNET = UnetConfig(
    dim=24,
    dim_mults=(1, 2, 4),
    cond_dim=96,
    num_resnet_blocks=(1, 2, 2),
    layer_attns=False,
    layer_cross_attns=False,
    attn_heads=4,
    attn_dim_head=32,
    attend_at_middle=False,
    memory_efficient=True,
    init_cross_embed=False,
    init_conv_kernel_size=3,
)
SMALL_HIGH_UNET = replace(SMALL_UPPER_UNET, cond_images_channels=6)
SMALL_UPSCALER = StageConfig(
    128, SMALL_UPPER_UNET, lowres_px=32, sampling=SamplingConfig(16, "dpmpp_2m", lowres_noise=0.08)
)
SMALL_HIGH = replace(SMALL_UPSCALER, unet=SMALL_HIGH_UNET)
SMALL_MEDIUM = replace(SMALL_UPSCALER, unet=replace(SMALL_HIGH_UNET, init_conv_to_final_conv_residual=True))
SMALL_TRAINING = TrainingConfig(10_000, 48, learning_rate=5e-4, warmup_steps=100)

URCDM_STEPS = {
    "low": (475_000, 450_000, 375_000),
    "medium": (2_450_000, 450_000, 200_000),
    "high": (1_125_000, 1_550_000, 325_000),
}

PRESETS: dict[str, Preset] = {
    "kidney-unconditional": Preset(
        "the study's final model of kidney tissue, 64 to 1024 px",
        _study_cascade((replace(UNET_1, dim_mults=(1, 2, 4, 8)), UNET_2, UNET_3), ("noise", "noise", "noise")),
        _study_training((1_734_000, 1_671_000, 1_398_000)),
    ),
    "kidney-masks": Preset(
        "the study's first model: kidney tissue from masks of 4 classes, told outcome, days and creatinine",
        _study_cascade(_masks((UNET_1, UNET_2, UNET_3), 4, 3), ("noise", "v", "v")),
        _study_training((173_000, 348_000, 185_000)),
        _study_training((145_000, 143_000, 43_000)),
    ),
    "kumar": Preset(
        "the study's model of KUMAR: images from masks of nuclei, told tissue type and disease, 64 to 256 px",
        _study_cascade(_masks((UNET_1, UNET_2), 1, 2), ("noise", "v")),
        _study_training((171_000, 286_000), batch_size=16, chunk_size=4),
    ),
    **{f"urcdm-{level}": _urcdm(level, steps, UNET_3) for level, steps in URCDM_STEPS.items()},
    **{f"urcdm-{level}-code": _urcdm(level, steps, UNET_3_CODE) for level, steps in URCDM_STEPS.items()},
    "small-low": Preset(
        "the built-in model's first magnification, 32 to 128 px",
        CascadeConfig((SMALL_BASE, SMALL_UPSCALER)),
        (replace(SMALL_TRAINING, steps=4800), SMALL_TRAINING),
    ),
    "small-medium": Preset(
        "the built-in model's second magnification: 128 px from a context and its centre",
        CascadeConfig((SMALL_MEDIUM,)),
        (SMALL_TRAINING,),
    ),
    "small-high": Preset(
        "the built-in model's last magnification: 128 px from a context and its centre",
        CascadeConfig((SMALL_HIGH,)),
        (SMALL_TRAINING,),
    ),
}


def preset(name: str) -> Preset:
    """Returns the preset of a name.

    Raises:
        ValueError: There is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"no preset '{name}'; there are {', '.join(PRESETS)}") from None
