"""Cascaded diffusion models of images: train, sample, load and save.

What training and other libraries' models need is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from cdm_core.cascade import Cascade, widen_cascade, write_cascade
from cdm_core.config import (
    Betas,
    CascadeConfig,
    LatentUnetConfig,
    SamplingConfig,
    StageConfig,
    TrainingConfig,
    UnetConfig,
)
from cdm_core.config_file import STRICT, dump_config, one_line_errors, parse_config
from cdm_core.diffusion.sampler import draw_noise, sample
from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import DEFAULT_METHOD, SOLVERS, Method, Solver, sampling_times, step_weights
from cdm_core.errors import CheckpointError, ConfigError, TrainingError
from cdm_core.networks.weights import seeded_weights
from cdm_core.presets import PRESETS, preset
from cdm_core.stages.build import build_unet
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.inference import Precision, best_precision, prepare_for_sampling
from cdm_core.stages.stage import sample_stage
from cdm_core.stages.widen import widen, with_final_residual
from run_folder import lazy_names

if TYPE_CHECKING:
    from cdm_core.distillation.finishing import FinishingConfig, FinishingPlan
    from cdm_core.distillation.teacher import DistillationMethod, Teacher, student_of, students_of
    from cdm_core.interop.diffusers import latent_network, latent_stage
    from cdm_core.interop.imagen_checkpoint import (
        import_imagen_checkpoint,
        load_imagen_checkpoint,
        save_imagen_checkpoint,
    )
    from cdm_core.interop.model_source import fetch_model
    from cdm_core.stages.examples import Examples
    from cdm_core.stages.pictures import to_uint8
    from cdm_core.training.cascade_training import NetworkEvent, NetworkTraining, train_cascade
    from cdm_core.training.loop import train_stage
    from cdm_core.training.monitor import TrainingEvent
    from cdm_core.training.setup import check_training
    from cdm_core.training.state import is_same_training, load_trained
    from cdm_core.training.students import distill_stage

__all__ = [
    "DEFAULT_METHOD",
    "PRESETS",
    "SOLVERS",
    "STRICT",
    "Betas",
    "Cascade",
    "CascadeConfig",
    "CheckpointError",
    "Conditions",
    "ConfigError",
    "Denoiser",
    "DistillationMethod",
    "Examples",
    "FinishingConfig",
    "FinishingPlan",
    "LatentUnetConfig",
    "Method",
    "NetworkEvent",
    "NetworkTraining",
    "Precision",
    "SamplingConfig",
    "Schedule",
    "Solver",
    "StageConfig",
    "Teacher",
    "TrainingConfig",
    "TrainingError",
    "TrainingEvent",
    "UnetConfig",
    "best_precision",
    "build_unet",
    "check_training",
    "distill_stage",
    "draw_noise",
    "dump_config",
    "fetch_model",
    "import_imagen_checkpoint",
    "is_same_training",
    "latent_network",
    "latent_stage",
    "load_imagen_checkpoint",
    "load_trained",
    "one_line_errors",
    "parse_config",
    "prepare_for_sampling",
    "preset",
    "sample",
    "sample_stage",
    "sampling_times",
    "save_imagen_checkpoint",
    "seeded_weights",
    "step_weights",
    "student_of",
    "students_of",
    "to_uint8",
    "train_cascade",
    "train_stage",
    "widen",
    "widen_cascade",
    "with_final_residual",
    "write_cascade",
]

__getattr__ = lazy_names(
    __name__,
    {
        "distillation.finishing": (
            "FinishingConfig",
            "FinishingPlan",
        ),
        "distillation.teacher": (
            "DistillationMethod",
            "Teacher",
            "student_of",
            "students_of",
        ),
        "interop.diffusers": (
            "latent_network",
            "latent_stage",
        ),
        "interop.imagen_checkpoint": (
            "import_imagen_checkpoint",
            "load_imagen_checkpoint",
            "save_imagen_checkpoint",
        ),
        "interop.model_source": ("fetch_model",),
        "training.cascade_training": (
            "NetworkEvent",
            "NetworkTraining",
            "train_cascade",
        ),
        "stages.examples": ("Examples",),
        "training.monitor": ("TrainingEvent",),
        "training.loop": ("train_stage",),
        "stages.pictures": ("to_uint8",),
        "training.setup": ("check_training",),
        "training.state": (
            "is_same_training",
            "load_trained",
        ),
        "training.students": ("distill_stage",),
    },
)
