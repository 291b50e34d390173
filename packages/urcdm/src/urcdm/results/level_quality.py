"""Quality of a finished run, level by level, in bounded memory: seams, coherence, sharpness, background colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from urcdm.errors import CanvasError
from urcdm.layout.order import Position
from urcdm.results.picture_quality import TISSUE_BELOW, CoherenceSum, StepSum
from urcdm.sampling.level_run import LevelRun

MOST_PX = 2**26
"""Largest number of measured pixels of each level: 64 patches of 1,024 px a side."""


@dataclass(frozen=True)
class LevelQuality:
    """Quality of one level; None for what cannot be measured.

    Args:
        level: Name of the level.
        sampled: Number of sampled patches, without those that are copied from their parent.
        looked_at: Number of measured patches.
        seam_columns: Seam measure of the columns at which neighbouring sampled patches begin or end, see `urcdm.seam`.
        seam_rows: Seam measure of the rows likewise.
        coherence: Coherence with the level above, see `urcdm.coherence`.
        sharpness: Sharpness, see `urcdm.sharpness`.
        glass_step: Difference of the background's colour between sampled patches and their neighbours without tissue,
            which show the parent: the median in each patch and colour, and the mean absolute value of these, in grey
            values. 0 is perfect.
    """

    level: str
    sampled: int
    looked_at: int
    seam_columns: float | None
    seam_rows: float | None
    coherence: float | None
    sharpness: float | None
    glass_step: float | None


def level_quality(levels: Sequence[LevelRun], *, most_px: int = MOST_PX) -> tuple[LevelQuality, ...]:
    """Measures every level of a finished run.

    Args:
        levels: Levels of the run.
        most_px: Largest number of measured pixels of a level; larger levels are measured on random patches, the same
            ones every time.

    Raises:
        CanvasError: The canvas is not finished, or cannot be read.
    """
    return tuple(_FinishedLevel(level).quality(max(1, most_px // level.picture.image_px**2)) for level in levels)


class _FinishedLevel:
    """A level whose patches are all finished."""

    def __init__(self, run: LevelRun) -> None:
        self.run, self.picture = run, run.picture
        if len(self.picture.done) < len(run.geometry.grid):
            raise CanvasError(
                f"{run.canvas.path}: level '{run.geometry.level.name}' is not finished; resume the run first"
            )
        self.sampled = ~run.order.skipped

    def quality(self, most: int) -> LevelQuality:
        positions = [(int(row), int(col)) for row, col in np.argwhere(self.sampled)]
        looked_at = _some(positions, most)
        across_columns, across_rows, agreement = StepSum(), StepSum(), CoherenceSum()
        for position in looked_at:
            self._add_steps(position, across_columns, across_rows)
            self._add_agreement(position, agreement)
        beside_glass = [position for position in positions if self._is_beside_glass(position)]
        steps = [self._glass_step(position) for position in _some(beside_glass, most)]
        measured = [step for step in steps if step is not None]
        return LevelQuality(
            level=self.run.geometry.level.name,
            sampled=len(positions),
            looked_at=len(looked_at),
            seam_columns=across_columns.seam,
            seam_rows=across_rows.seam,
            coherence=agreement.coherence,
            sharpness=across_columns.sharpness,
            glass_step=sum(measured) / len(measured) if measured else None,
        )

    def _add_steps(self, position: Position, across_columns: StepSum, across_rows: StepSum) -> None:
        """Adds the part of the picture from a patch's start to the next patches' starts; parts do not overlap."""
        (row, col), mosaic = position, self.picture.mosaic
        x0, x1 = _part(mosaic.xs, col, mosaic.size_px[0])
        y0, y1 = _part(mosaic.ys, row, mosaic.size_px[1])
        before_x, before_y = min(x0, 1), min(y0, 1)  # the first step starts at the pixel before
        window = self.picture.picture(x0 - before_x, y0 - before_y, x1 - x0 + before_x, y1 - y0 + before_y)
        for steps, part, origins, sampled, begin in (
            (across_columns, window[before_y:], mosaic.xs, self.sampled[row], x0 - before_x),
            (across_rows, window[:, before_x:].transpose(1, 0, 2), mosaic.ys, self.sampled[:, col], y0 - before_y),
        ):
            met, left_out = _borders(origins, self.picture.image_px, sampled.tolist())
            steps.add(part, [at - begin for at in met], [at - begin for at in left_out])

    def _add_agreement(self, position: Position, agreement: CoherenceSum) -> None:
        """Adds the whole parent pixels inside a patch, together with the picture at the same positions."""
        if self.run.parent is None:
            return
        above, geometry = self.run.parent.geometry, self.run.geometry
        x0, y0, x1, y1 = (round(edge, 6) for edge in self.run.parent.box(geometry, position))
        left, top, right, bottom = math.ceil(x0), math.ceil(y0), math.floor(x1), math.floor(y1)
        if left >= right or top >= bottom:
            return
        (x, y), scale, size = above.origin_l0, above.level.scale, (right - left, bottom - top)
        field = geometry.to_px((x + left * scale, y + top * scale, x + right * scale, y + bottom * scale))
        agreement.add(self.picture.read(field, size), self.run.parent.canvas.read((left, top, right, bottom), size))

    def _is_beside_glass(self, position: Position) -> bool:
        row, col = position
        column, line = self.sampled[max(row - 1, 0) : row + 2, col], self.sampled[row, max(col - 1, 0) : col + 2]
        return not (column.all() and line.all())

    def _glass_step(self, position: Position) -> float | None:
        sampled, parent = self.picture.store.load(position), self.run.enlarged_parent(position, self.picture.image_px)
        glass = np.minimum(sampled.mean(axis=2), parent.mean(axis=2)) >= TISSUE_BELOW
        if not glass.any():
            return None
        # the median, because the parent's softer edges at the border of tissue also differ
        return float(np.abs(np.median(sampled[glass].astype(np.int16) - parent[glass], axis=0)).mean())


def _some(positions: list[Position], most: int) -> list[Position]:
    """All patches, or `most` random ones, the same every time."""
    if len(positions) <= most:
        return positions
    return [positions[i] for i in sorted(np.random.default_rng(0).choice(len(positions), most, replace=False))]


def _part(origins: Sequence[int], number: int, length: int) -> tuple[int, int]:
    """The range from a patch's start to the next patch's start, or to the end of the picture."""
    return origins[number], origins[number + 1] if number + 1 < len(origins) else length


def _borders(origins: Sequence[int], side: int, sampled: Sequence[bool]) -> tuple[set[int], set[int]]:
    """Positions along one axis of the borders of neighbouring patches, if both are sampled, and if not."""
    met: set[int] = set()
    left_out: set[int] = set()
    for first in range(len(origins) - 1):
        borders = met if sampled[first] and sampled[first + 1] else left_out
        borders |= {origins[first + 1], origins[first] + side}
    return met, left_out
