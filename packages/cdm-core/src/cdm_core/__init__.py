"""Cascaded diffusion models of images: train, sample, load and save."""

from cdm_core.cascade import Cascade
from cdm_core.config import CascadeConfig, SamplingConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.denoiser import Conditions, Denoiser
from cdm_core.errors import CheckpointError, ConfigError, TrainingError
from cdm_core.imagen_checkpoint import import_imagen_checkpoint, load_imagen_checkpoint, save_imagen_checkpoint
from cdm_core.model_source import fetch_model
from cdm_core.network import build_unet
from cdm_core.sampler import draw_noise, sample
from cdm_core.schedule import Schedule
from cdm_core.stage import sample_stage
from cdm_core.widen import widen, widen_cascade

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
