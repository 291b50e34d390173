"""Crops of a finished run for its report: positions in tissue, as each level and the level above show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from urcdm.layout.geometry import Box
from urcdm.results.picture_quality import TISSUE_BELOW
from urcdm.sampling.level_run import LevelRun

POSITIONS = 3
MOST_CROP_PX = 512


@dataclass(frozen=True)
class ReportCrop:
    """A field on a level and on the level above.

    Args:
        level: Name of the level.
        parent: Name of the level above.
        field_l0: x0, y0, x1, y1 on the slide, level-0 px.
        mpp: Scale of the level, micrometres a pixel.
        above: Field on the level above, enlarged, (H, W, 3) uint8.
        sampled: Field on the level, (H, W, 3) uint8.
    """

    level: str
    parent: str
    field_l0: Box
    mpp: float
    above: NDArray[np.uint8]
    sampled: NDArray[np.uint8]


def report_crops(levels: Sequence[LevelRun], overview: NDArray[np.uint8]) -> list[list[ReportCrop]]:
    """Cuts the crops of a report out of a finished run.

    Args:
        levels: Levels of the run.
        overview: The slide at a small size, (H, W, 3) uint8, in which tissue is segmented.

    Returns:
        For each of a few positions, a crop of every level except the first; empty for a single level.
    """
    if len(levels) < 2:
        return []
    finest = levels[-1]
    share = _crop_px(finest)[0] * finest.geometry.level.scale / finest.settings.size_l0[0]
    return [_crops_at(levels, centre) for centre in crop_centres(overview, share)]


def crop_centres(overview: NDArray[np.uint8], field_share: float) -> list[tuple[float, float]]:
    """Chooses a few fields in tissue: at a sixth, a half and five sixths of the fields with much of it, row by row.

    Args:
        overview: The slide, (H, W, 3) uint8.
        field_share: Side of a field, as a share of the slide's width.

    Returns:
        Up to three centres (x, y), as shares of the slide's width and height.
    """
    height, width = overview.shape[:2]
    side = max(field_share * width, 1)
    cols, rows = max(round(width / side), 1), max(round(height / side), 1)
    tissue = (overview.mean(axis=2) < TISSUE_BELOW).astype(np.float32)
    shares = np.asarray(PIL.Image.fromarray(tissue).resize((cols, rows), PIL.Image.Resampling.BOX))
    full = np.argwhere(shares >= shares.max() / 2)
    chosen = dict.fromkeys(len(full) * (2 * number + 1) // (2 * POSITIONS) for number in range(POSITIONS))
    return [((full[i][1] + 0.5) / cols, (full[i][0] + 0.5) / rows) for i in chosen]


def _crops_at(levels: Sequence[LevelRun], centre: tuple[float, float]) -> list[ReportCrop]:
    """Cuts the crops around a centre, x and y as shares of the slide's width and height."""
    crops = []
    for above, level in pairwise(levels):
        width, height = size_px = _crop_px(level)
        scale = level.geometry.level.scale
        x0, y0 = (
            min(max(round((share * side - length * scale / 2) / scale), 0), round(side / scale) - length) * scale
            for share, side, length in zip(centre, level.settings.size_l0, size_px, strict=True)
        )
        field = (x0, y0, x0 + width * scale, y0 + height * scale)
        parent, sampled = (run.picture.read(run.geometry.to_px(field), size_px) for run in (above, level))
        names, mpp = (level.geometry.level.name, above.geometry.level.name), level.model.config.mpp * scale
        crops.append(ReportCrop(*names, field, mpp, parent, sampled))
    return crops


def _crop_px(level: LevelRun) -> tuple[int, int]:
    """Width and height of a crop: two patches, so that borders show, but at most the slide and `MOST_CROP_PX`."""
    side = min(2 * level.geometry.level.image_px, MOST_CROP_PX)
    width, height = (max(1, min(side, round(length / level.geometry.level.scale))) for length in level.settings.size_l0)
    return width, height
