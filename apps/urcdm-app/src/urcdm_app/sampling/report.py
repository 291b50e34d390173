"""The report of a run: a page that stands alone, and its data as JSON."""

import json
import string
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from run_folder import whole_file
from run_folder.cli.pages import jpeg_uri, render_page
from urcdm import ReportCrop, SlideRun
from urcdm.layout.geometry import Box
from urcdm_app.sampling.outputs import Outputs


def write_report(run: SlideRun, outputs: Outputs, *, model_name: str, device: str) -> None:
    """Measures a run whose slide and preview are written, and writes its page and its data.

    Args:
        run: The run.
        outputs: Its files.
        model_name: What the model is called.
        device: What the workers' device is called.

    Raises:
        CanvasError: The canvas cannot be read.
    """
    data = run.report_data(model_name=model_name, device=device)
    versions = data["versions"]
    data["versions"] = {"python": versions["python"], "urcdm-app": version("urcdm-app"), **versions}
    data = {"slide": outputs.slide.name, "date": datetime.now(UTC).isoformat(timespec="seconds"), **data}
    with PIL.Image.open(outputs.preview) as preview:
        overview = np.asarray(preview.convert("RGB"))
    html = _page(run, data, overview)
    for path, text in ((outputs.figures, json.dumps(data, indent=2, ensure_ascii=False) + "\n"), (outputs.page, html)):
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")


def _page(run: SlideRun, data: dict[str, Any], overview: NDArray[np.uint8]) -> str:
    width, height = run.settings.size_l0
    places = [
        {
            "name": name,
            "frame": _share(crops[-1].field_l0, (0.0, 0.0, float(width), float(height))),
            "crops": [_shown(crop, below, run.model.config.mpp) for crop, below in zip_longest(crops, crops[1:])],
        }
        for name, crops in zip(string.ascii_uppercase, run.crops(overview), strict=False)
    ]
    values = {**data, "mpp": run.model.config.mpp, "places": places, "thumbnail": _data_uri(overview)}
    return render_page("urcdm_app", "report.html", values, filters={"duration": _duration})


def _shown(crop: ReportCrop, below: ReportCrop | None, mpp: float) -> dict[str, Any]:
    """A crop for the page; `below` is that of the next level, whose frame is drawn on it."""
    return {
        "level": crop.level,
        "parent": crop.parent,
        "field_um": (crop.field_l0[2] - crop.field_l0[0]) * mpp,
        "mpp": crop.mpp,
        "above": _data_uri(crop.above),
        "sampled": _data_uri(crop.sampled),
        "next": None if below is None else _share(below.field_l0, crop.field_l0),
    }


def _data_uri(image: NDArray[np.uint8]) -> str:
    return jpeg_uri(PIL.Image.fromarray(image))


def _share(box: Box, whole: Box) -> dict[str, float]:
    """The position and size of a box in another, in percent."""
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
