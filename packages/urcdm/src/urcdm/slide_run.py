"""The run that samples one slide and writes it: model, canvas and settings as one object."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from urcdm.canvas.canvas import Canvas, remove_canvas
from urcdm.errors import CanvasError
from urcdm.execution.executors import PatchExecutor
from urcdm.execution.tasks import StageKey
from urcdm.model import Urcdm
from urcdm.results.crops import ReportCrop, report_crops
from urcdm.results.level_quality import MOST_PX, LevelQuality, level_quality
from urcdm.results.slide_file import WriteEvent, write_slide
from urcdm.sampling.level_run import LevelRun, Parent
from urcdm.sampling.record import RECORD, RunRecord
from urcdm.sampling.stage_run import SampleEvent, sample_level_stage
from urcdm.settings import RunSettings

PACKAGES = ("urcdm", "cdm-core", "wsi-tiling", "imagen-pytorch", "torch", "numpy", "zarr")
"""Packages whose versions a report states."""


class SlideRun:
    """A run that samples one slide; `open` makes one.

    Args:
        model: The model; an executor may prepare its networks after `open` has taken its fingerprint.
        canvas: The store of finished patches.
        settings: The slide.
        fingerprint: The fingerprint of the model as it was loaded.
        record: Times and files of the run.

    Attributes:
        batch: Batch size of each stage in this sitting, once it has begun.
        workers: Number of workers in this sitting.
        lost_workers: Number of workers that were lost and replaced.
        writing_seconds: Time to write the slide.
    """

    def __init__(
        self, model: Urcdm, canvas: Canvas, settings: RunSettings, fingerprint: str, record: RunRecord
    ) -> None:
        self.model, self.canvas, self.settings, self.fingerprint, self.record = (
            model,
            canvas,
            settings,
            fingerprint,
            record,
        )
        self.batch: Mapping[StageKey, int] = {}
        self.workers, self.lost_workers, self.writing_seconds = 1, 0, 0.0

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Urcdm,
        settings: RunSettings,
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> "SlideRun":
        """Opens the canvas of a run, or makes it; call it before an executor prepares the model's networks.

        Args:
            path: Folder of the canvas.
            model: The model as it was loaded.
            settings: The slide.
            resume: Continue a run that was interrupted.
            overwrite: Remove an existing canvas, and start again.

        Raises:
            CanvasError: A canvas exists and neither `resume` nor `overwrite` is given; it belongs to another run (the
                message names the difference); or it cannot be read or written.
            SlideSizeError: The model cannot sample a slide of this size.
        """
        folder = Path(path)
        model.geometry(settings.size_l0)
        record = RunRecord()
        if resume:
            record = RunRecord.load(folder).continued()
        elif overwrite:
            remove_canvas(folder, also=[RECORD])
        elif folder.is_dir() and any(folder.iterdir()):
            raise CanvasError(f"{folder} holds an unfinished run; resume it, or overwrite it")
        identity = settings.identity(model)
        canvas = Canvas(folder, identity, model.config)
        return cls(model, canvas, settings, str(identity["model"]), record)

    def sample(self, executor: PatchExecutor, batch: int | Mapping[StageKey, int] = 8) -> Iterator[SampleEvent]:
        """Samples the patches that the canvas does not have yet.

        Args:
            executor: Runs the batches of patches.
            batch: Most patches of a batch, in all stages or in each; it changes time and memory, not the slide.

        Yields:
            Progress at the start of every stage, and after every batch.

        Raises:
            SettingsError: Joint sampling with a solver of more than one prediction a step.
            CanvasError: The canvas cannot be read or written.
            LockedError: Another run samples on the canvas.
        """
        self.batch = batch if isinstance(batch, Mapping) else dict.fromkeys(self._stages(), batch)
        with self.canvas.lock():
            for level in self._levels():
                for index in range(len(level.config.stages)):
                    for event in sample_level_stage(level, index, executor, self.batch[level.number, index]):
                        self.record.note(event, self.canvas.path)
                        yield event
        self.workers, self.lost_workers = executor.workers, executor.lost

    def levels(self) -> tuple[LevelRun, ...]:
        """The levels of the slide; a finished run has all their patches."""
        return tuple(self._levels())

    def claim(self, files: Iterable[Path]) -> None:
        """Records the files that the run is about to write; it may replace them when it is resumed."""
        self.record.claim(files, self.canvas.path)

    def write(
        self, path: str | os.PathLike[str], *, description: str = "", overwrite: bool = False
    ) -> Iterator[WriteEvent]:
        """Writes the finished slide as a tiled, pyramidal TIFF; see `urcdm.results.slide_file.write_slide`."""
        started = time.monotonic()
        yield from write_slide(self.levels()[-1], Path(path), description=description, overwrite=overwrite)
        self.writing_seconds = time.monotonic() - started

    def quality(self, *, most_px: int = MOST_PX) -> tuple[LevelQuality, ...]:
        """Measures every level of the finished slide; see `urcdm.results.level_quality.level_quality`."""
        return level_quality(self.levels(), most_px=most_px)

    def crops(self, overview: NDArray[np.uint8]) -> list[list[ReportCrop]]:
        """Cuts a few crops of the finished slide; see `urcdm.results.crops.report_crops`."""
        return report_crops(self.levels(), overview)

    def report_data(self, *, model_name: str, device: str) -> dict[str, Any]:
        """Measures the finished slide and returns the data of its report, ready for JSON.

        Args:
            model_name: Name of the model.
            device: Name of the workers' device.

        Raises:
            CanvasError: The canvas is not finished, or cannot be read.
        """
        return {
            "model": {"name": model_name, "fingerprint": self.fingerprint, **self._model_data()},
            "settings": asdict(self.settings),
            "device": device,
            "workers": self.workers,
            "lost_workers": self.lost_workers,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "sittings": self.record.sittings,
            "stages": self._stage_data(),
            "writing_seconds": self.writing_seconds,
            "quality": [asdict(level) for level in self.quality()],
        }

    def remove_canvas(self) -> None:
        """Removes the canvas, once everything is written."""
        remove_canvas(self.canvas.path, also=[RECORD])

    def _levels(self) -> Iterator[LevelRun]:
        """Opens one level after the other: the next needs the image of the one before."""
        parent: Parent | None = None
        for number in range(len(self.model.cascades)):
            level = LevelRun(self.model, self.settings, self.canvas, number, parent)
            yield level
            parent = level.as_parent()

    def _stages(self) -> dict[StageKey, tuple[str, int]]:
        """Every stage with the name of its level and the side of its images."""
        return {
            (number, index): (level.name, stage.image_px)
            for number, (level, cascade) in enumerate(zip(self.model.config.levels, self.model.cascades, strict=True))
            for index, stage in enumerate(cascade.config.stages)
        }

    def _model_data(self) -> dict[str, Any]:
        config, steps = self.model.config, self.settings.steps
        return {
            "provenance": self.model.provenance,
            "overlap": config.overlap,
            "context": config.context,
            "levels": [
                {
                    "name": level.name,
                    "field_l0": level.field_l0,
                    "image_px": level.image_px,
                    "mpp": config.mpp * level.scale,
                    "steps": {stage.image_px: steps or stage.sampling.steps for stage in cascade.config.stages},
                }
                for level, cascade in zip(config.levels, self.model.cascades, strict=True)
            ],
        }

    def _stage_data(self) -> list[dict[str, Any]]:
        batch = {stage: self.batch.get(key) for key, stage in self._stages().items()}
        return [
            {
                **asdict(stage),
                "seconds_per_patch": stage.seconds_per_patch,
                "batch": batch[stage.level, stage.image_px],
            }
            for stage in self.record.stages
        ]
