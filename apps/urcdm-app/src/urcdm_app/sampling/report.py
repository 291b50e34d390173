"""The report of a run: a page that stands alone, and its figures as JSON."""

import json
import platform
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image

import urcdm
from run_folder import whole_file
from urcdm_app.sampling.report_pictures import Box, crop_places, crop_px, crops_at, data_uri
from urcdm_app.sampling.run_record import RunRecord
from urcdm_app.sampling.speed import Batches

PACKAGES = ("urcdm-app", "urcdm", "cdm-core", "wsi-tiling", "imagen-pytorch", "torch", "numpy", "zarr")


@dataclass(frozen=True)
class FinishedRun:
    """A run whose slide is written and whose canvas is still there.

    Args:
        model: The model that drew it.
        model_name: What the model is called.
        identity: What the canvas remembers of the run.
        settings: The slide.
        canvas: The canvas.
        record: Its times.
        batches: Patches sampled together, in this sitting.
        device: Where they were.
        workers: How many shared them, in this sitting.
        lost_workers: How many of these were lost and replaced.
        writing_seconds: What it took to write the slide.
        slide: The file of the slide.
        preview: A picture of the whole slide.
    """

    model: urcdm.Urcdm
    model_name: str
    identity: Mapping[str, str | int | float]
    settings: urcdm.RunSettings
    canvas: urcdm.Canvas
    record: RunRecord
    batches: Batches
    device: str
    workers: int
    lost_workers: int
    writing_seconds: float
    slide: Path
    preview: Path


def write_report(run: FinishedRun, page: Path, figures: Path) -> None:
    """Measures a run, and writes its page and its figures, each under a temporary name until it is whole.

    Raises:
        CanvasError: The canvas cannot be read.
    """
    found = _figures(run)
    html = _page(run, found)
    for path, text in ((figures, json.dumps(found, indent=2, ensure_ascii=False) + "\n"), (page, html)):
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")


def is_report(figures: Path, slide: str) -> bool:
    """Whether a file holds the figures that this app wrote of a slide, which is a file's name."""
    try:
        values = json.loads(figures.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    known = isinstance(values, dict) and {"slide", "model", "settings", "stages"} <= values.keys()
    return known and values["slide"] == slide


def _figures(run: FinishedRun) -> dict[str, Any]:
    model, settings = run.model, run.settings
    batches = {
        (level.name, stage.image_px): run.batches.size[number, index]
        for number, (level, cascade) in enumerate(zip(model.config.levels, model.cascades, strict=True))
        for index, stage in enumerate(cascade.config.stages)
    }
    return {
        "slide": run.slide.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": run.model_name,
            "fingerprint": run.identity["model"],
            "provenance": model.provenance,
            "overlap": model.config.overlap,
            "context": model.config.context,
            "levels": [
                {
                    "name": level.name,
                    "field_l0": level.field_l0,
                    "image_px": level.image_px,
                    "mpp": model.config.mpp * level.scale,
                    "steps": {
                        stage.image_px: settings.steps or stage.sampling.steps for stage in cascade.config.stages
                    },
                }
                for level, cascade in zip(model.config.levels, model.cascades, strict=True)
            ],
        },
        "settings": asdict(settings),
        "device": run.device,
        "workers": run.workers,
        "lost_workers": run.lost_workers,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "sittings": run.record.sittings,
        "stages": [
            {
                **asdict(stage),
                "seconds_per_patch": stage.seconds_per_patch,
                "batch": batches[stage.level, stage.image_px],
            }
            for stage in run.record.stages
        ],
        "writing_seconds": run.writing_seconds,
        "quality": [asdict(level) for level in urcdm.level_quality(model, run.canvas, settings)],
    }


def _page(run: FinishedRun, figures: dict[str, Any]) -> str:
    with PIL.Image.open(run.preview) as preview:
        thumbnail = np.asarray(preview.convert("RGB"))
    width, height = run.settings.size_l0
    finest = run.model.geometry(run.settings.size_l0)[-1]
    field_share = crop_px(finest, run.settings)[0] * finest.level.scale / width
    places = [
        {
            "name": name,
            "frame": _share(crops[-1].field_l0, (0.0, 0.0, float(width), float(height))),
            "crops": [
                {
                    "level": crop.level,
                    "parent": crop.parent,
                    "field_um": (crop.field_l0[2] - crop.field_l0[0]) * run.model.config.mpp,
                    "mpp": crop.mpp,
                    "above": data_uri(crop.above),
                    "drawn": data_uri(crop.drawn),
                    "next": _share(below.field_l0, crop.field_l0) if below is not None else None,
                }
                for crop, below in zip(crops, [*crops[1:], None], strict=True)
            ],
        }
        for name, centre in zip(string.ascii_uppercase, crop_places(thumbnail, field_share), strict=False)
        for crops in [crops_at(run.model, run.canvas, run.settings, centre)]
        if crops  # a level that is alone has none above to be shown beside
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("urcdm_app"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = _duration
    return environment.get_template("report.html").render(
        **figures, mpp=run.model.config.mpp, places=places, thumbnail=data_uri(thumbnail)
    )


def _share(box: Box, whole: Box) -> dict[str, float]:
    """Where a box lies in another, in percent."""
    width, height = whole[2] - whole[0], whole[3] - whole[1]
    return {
        "left": 100 * (box[0] - whole[0]) / width,
        "top": 100 * (box[1] - whole[1]) / height,
        "width": 100 * (box[2] - box[0]) / width,
        "height": 100 * (box[3] - box[1]) / height,
    }


def _duration(seconds: float) -> str:
    """A time as in '1 h 02 min', '1 min 36 s', '3.2 s' or '45 ms'."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
