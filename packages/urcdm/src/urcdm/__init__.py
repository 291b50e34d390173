"""Ultra-resolution cascades: diffusion models at several magnifications, stitched into one whole slide.

What learning needs, tables of tiles above all, is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from urcdm.canvas import Canvas, remove_canvas
from urcdm.canvas_quality import LevelQuality, level_quality
from urcdm.config import Level, NetworkPlan, TrainingPlan, UrcdmConfig
from urcdm.errors import CanvasError, SettingsError, SlideSizeError, TilesError, WorkerError
from urcdm.executors import Executor, InProcessExecutor, SerialExecutor
from urcdm.export import write_preview, write_slide
from urcdm.generate import Progress, RunSettings, generate
from urcdm.imagen_import import import_imagen
from urcdm.model import Urcdm
from urcdm.on_ray import RayExecutor
from urcdm.order import PatchGrid
from urcdm.outpainting import outpainting
from urcdm.patch_task import DenoiseTask, PatchTask, StageKey, Task
from urcdm.quality import coherence, seam, sharpness
from urcdm.tasks import PreparedBatch, stage_batch

if TYPE_CHECKING:
    from urcdm.examples import LevelExamples
    from urcdm.shard_examples import ShardExamples

__all__ = [
    "Canvas",
    "CanvasError",
    "DenoiseTask",
    "Executor",
    "InProcessExecutor",
    "Level",
    "LevelExamples",
    "LevelQuality",
    "NetworkPlan",
    "PatchGrid",
    "PatchTask",
    "PreparedBatch",
    "Progress",
    "RayExecutor",
    "RunSettings",
    "SerialExecutor",
    "SettingsError",
    "ShardExamples",
    "SlideSizeError",
    "StageKey",
    "Task",
    "TilesError",
    "TrainingPlan",
    "Urcdm",
    "UrcdmConfig",
    "WorkerError",
    "coherence",
    "generate",
    "import_imagen",
    "level_quality",
    "outpainting",
    "remove_canvas",
    "seam",
    "sharpness",
    "stage_batch",
    "write_preview",
    "write_slide",
]

_FOR_TRAINING = {
    "LevelExamples": "examples",
    "ShardExamples": "shard_examples",
}


def __getattr__(name: str) -> Any:
    if name not in _FOR_TRAINING:
        raise AttributeError(f"module 'urcdm' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"urcdm.{_FOR_TRAINING[name]}"), name)
    return found
