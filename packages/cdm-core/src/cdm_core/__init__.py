"""Cascaded diffusion models of images: train, sample, load and save."""

from cdm_core.cascade import Cascade, widen_cascade
from cdm_core.config import CascadeConfig, SamplingConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.diffusion.sampler import draw_noise, sample
from cdm_core.diffusion.schedule import Schedule
from cdm_core.errors import CheckpointError, ConfigError, TrainingError
from cdm_core.interop.imagen_checkpoint import import_imagen_checkpoint, load_imagen_checkpoint, save_imagen_checkpoint
from cdm_core.interop.model_source import fetch_model
from cdm_core.stages.build import build_unet
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.stage import sample_stage
from cdm_core.stages.widen import widen

__all__ = [
    "Cascade",
    "CascadeConfig",
    "CheckpointError",
    "Conditions",
    "ConfigError",
    "Denoiser",
    "SamplingConfig",
    "Schedule",
    "StageConfig",
    "TrainingConfig",
    "TrainingError",
    "UnetConfig",
    "build_unet",
    "draw_noise",
    "fetch_model",
    "import_imagen_checkpoint",
    "load_imagen_checkpoint",
    "sample",
    "sample_stage",
    "save_imagen_checkpoint",
    "widen",
    "widen_cascade",
]
