"""The pictures of a report: the slide small, and places of it as each level shows them."""

import base64
import io
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from urcdm import Canvas, RunSettings, Urcdm
from urcdm.layout.geometry import LevelGeometry
from urcdm.results.quality import TISSUE_BELOW
from urcdm.sampling.generate import open_stage

PLACES = 3
MOST_CROP_PX = 512
JPEG_QUALITY = 90
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Crop:
    """A field as a level and the level above show it.

    Args:
        level: Name of the level.
        parent: Name of the level above.
        field_l0: x0, y0, x1, y1 on the slide, level-0 px.
        mpp: Micrometres a pixel of the level.
        above: What the level above shows, enlarged, (H, W, 3) uint8.
        drawn: What the level shows, (H, W, 3) uint8.
    """

    level: str
    parent: str
    field_l0: Box
    mpp: float
    above: NDArray[np.uint8]
    drawn: NDArray[np.uint8]


def crop_places(thumbnail: NDArray[np.uint8], field_share: float) -> list[tuple[float, float]]:
    """Finds a few places in tissue: at a sixth, a half and five sixths of the fields with much of it, row by row.

    Args:
        thumbnail: The slide, (H, W, 3) uint8.
        field_share: Side of a field, as a share of the slide's width.

    Returns:
        Centres (x, y), as shares of the slide's width and height; one or two where the slide has no more.
    """
    height, width = thumbnail.shape[:2]
    side = max(field_share * width, 1)
    cols, rows = max(round(width / side), 1), max(round(height / side), 1)
    tissue = (thumbnail.mean(axis=2) < TISSUE_BELOW).astype(np.float32)
    shares = np.asarray(PIL.Image.fromarray(tissue).resize((cols, rows), PIL.Image.Resampling.BOX))
    full = np.argwhere(shares >= shares.max() / 2)
    chosen = dict.fromkeys(len(full) * (2 * number + 1) // (2 * PLACES) for number in range(PLACES))
    return [((full[i][1] + 0.5) / cols, (full[i][0] + 0.5) / rows) for i in chosen]


def crops_at(model: Urcdm, canvas: Canvas, settings: RunSettings, centre: tuple[float, float]) -> list[Crop]:
    """Shows a place of a finished canvas at every magnification above the first.

    Args:
        model: The model that drew it.
        canvas: The canvas.
        settings: The slide.
        centre: x and y, as shares of the slide's width and height.
    """
    geometries = model.geometry(settings.size_l0)
    crops = []
    for above, geometry in pairwise(geometries):
        width, height = size_px = crop_px(geometry, settings)
        scale = geometry.level.scale
        x0, y0 = (
            min(max(round((share * side - length * scale / 2) / scale), 0), round(side / scale) - length) * scale
            for share, side, length in zip(centre, settings.size_l0, size_px, strict=True)
        )
        field = (x0, y0, x0 + width * scale, y0 + height * scale)
        parent, drawn = (
            open_stage(canvas, each, each.level.image_px).read(each.to_px(field), size_px) for each in (above, geometry)
        )
        crops.append(Crop(geometry.level.name, above.level.name, field, model.config.mpp * scale, parent, drawn))
    return crops


def crop_px(geometry: LevelGeometry, settings: RunSettings) -> tuple[int, int]:
    """Width and height of a crop: two patches, so that borders show; not more than the slide, nor than is looked at."""
    side = min(2 * geometry.level.image_px, MOST_CROP_PX)
    width, height = (max(1, min(side, round(length / geometry.level.scale))) for length in settings.size_l0)
    return width, height


def data_uri(image: NDArray[np.uint8]) -> str:
    """A picture as part of a page: a JPEG without subsampled colours."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
