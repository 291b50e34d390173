"""Ultra-resolution cascades: diffusion models at several magnifications, stitched into one whole slide.

What learning needs, tables of tiles above all, is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from urcdm.canvas.canvas import Canvas, remove_canvas
from urcdm.config import Level, NetworkPlan, TrainingPlan, UrcdmConfig
from urcdm.errors import CanvasError, SettingsError, SlideSizeError, TilesError, WorkerError
from urcdm.execution.executors import Executor, InProcessExecutor, SerialExecutor
from urcdm.execution.on_ray import RayExecutor
from urcdm.execution.patch_task import DenoiseTask, PatchTask, StageKey, Task
from urcdm.execution.tasks import PreparedBatch, stage_batch
from urcdm.imagen_import import import_imagen
from urcdm.layout.order import PatchGrid
from urcdm.model import Urcdm
from urcdm.outpainting import outpainting
from urcdm.results.canvas_quality import LevelQuality, level_quality
from urcdm.results.export import write_preview, write_slide
from urcdm.results.quality import coherence, seam, sharpness
from urcdm.sampling.generate import Progress, RunSettings, generate

if TYPE_CHECKING:
    from urcdm.training.examples import LevelExamples
    from urcdm.training.shard_examples import ShardExamples

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
    "LevelExamples": "training.examples",
    "ShardExamples": "training.shard_examples",
}


def __getattr__(name: str) -> Any:
    if name not in _FOR_TRAINING:
        raise AttributeError(f"module 'urcdm' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(f"urcdm.{_FOR_TRAINING[name]}"), name)
    return found
