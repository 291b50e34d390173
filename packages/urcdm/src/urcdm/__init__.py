"""Ultra-resolution cascades: diffusion models at several magnifications, stitched into one whole slide.

The names that training needs, mainly tables of tiles, are imported on first use.
"""

from typing import TYPE_CHECKING

from run_folder import lazy_names
from urcdm.canvas.canvas import Canvas, remove_canvas
from urcdm.config import Level, NetworkPlan, TrainingPlan, UrcdmConfig
from urcdm.errors import CanvasError, CompilationError, SettingsError, SlideSizeError, TilesError, WorkerError
from urcdm.execution.batch_choice import BatchChoice, choose_batches
from urcdm.execution.batches import PreparedBatch, stage_batch
from urcdm.execution.executors import LocalPatchExecutor, PatchExecutor, SerialPatchExecutor
from urcdm.execution.on_ray import RayPatchExecutor
from urcdm.execution.tasks import DenoiseTask, PatchTask, StageKey, Task
from urcdm.execution.workers import LocalWorkers, ModelSource, PatchWorkers, WorkerSetup, device_name
from urcdm.imagen_import import import_imagen
from urcdm.layout.order import PatchGrid
from urcdm.model import Urcdm
from urcdm.outpainting import outpainting
from urcdm.results.crops import ReportCrop
from urcdm.results.level_quality import LevelQuality
from urcdm.results.picture_quality import coherence, seam, sharpness
from urcdm.results.slide_file import WriteEvent, write_preview
from urcdm.sampling.record import RECORD, RunRecord
from urcdm.sampling.stage_run import SampleEvent
from urcdm.settings import RunSettings
from urcdm.slide_run import SlideRun

if TYPE_CHECKING:
    from urcdm.training.examples import LevelExamples
    from urcdm.training.shard_examples import ShardExamples

__all__ = [
    "RECORD",
    "BatchChoice",
    "Canvas",
    "CanvasError",
    "CompilationError",
    "DenoiseTask",
    "Level",
    "LevelExamples",
    "LevelQuality",
    "LocalPatchExecutor",
    "LocalWorkers",
    "ModelSource",
    "NetworkPlan",
    "PatchExecutor",
    "PatchGrid",
    "PatchTask",
    "PatchWorkers",
    "PreparedBatch",
    "RayPatchExecutor",
    "ReportCrop",
    "RunRecord",
    "RunSettings",
    "SampleEvent",
    "SerialPatchExecutor",
    "SettingsError",
    "ShardExamples",
    "SlideRun",
    "SlideSizeError",
    "StageKey",
    "Task",
    "TilesError",
    "TrainingPlan",
    "Urcdm",
    "UrcdmConfig",
    "WorkerError",
    "WorkerSetup",
    "WriteEvent",
    "choose_batches",
    "coherence",
    "device_name",
    "import_imagen",
    "outpainting",
    "remove_canvas",
    "seam",
    "sharpness",
    "stage_batch",
    "write_preview",
]

__getattr__ = lazy_names(
    __name__,
    {
        "training.examples": ("LevelExamples",),
        "training.shard_examples": ("ShardExamples",),
    },
)
