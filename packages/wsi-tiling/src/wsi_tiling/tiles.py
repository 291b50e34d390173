"""Tables of training tiles: where on which slide there is tissue."""

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw
from scipy import ndimage

from wsi_tiling.errors import SlideError
from wsi_tiling.region import Image
from wsi_tiling.slide import Slide
from wsi_tiling.tissue import TissueRule, colour_mask

_COLUMNS = {
    "patient": "str",
    "slide": "str",
    "path": "str",
    "x_l0": "int64",
    "y_l0": "int64",
    "field_l0": "float64",
    "tissue": "float64",
    "split": "str",
}
_PX_PER_TILE = 32


@dataclass(frozen=True, eq=False)
class TileTable:
    """Tiles, one a row.

    Columns: `patient`, `slide` (its name), `path`, `x_l0` and `y_l0` (upper left corner, whole level-0 pixels, may lie
    outside the slide), `field_l0` (side, level-0 pixels), `tissue` (share of the tile, in [0, 1]), `split`.

    Args:
        frame: The rows; columns are put in order and cast.

    Raises:
        SlideError: A column is missing, is not known, or holds what it cannot.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in _COLUMNS if name not in self.frame]
        surplus = [str(name) for name in self.frame if name not in _COLUMNS]
        if missing or surplus:
            raise SlideError(f"wanted a tile table, got one without columns {missing} and with unknown {surplus}")
        try:
            frame = self.frame[list(_COLUMNS)].astype(_COLUMNS).reset_index(drop=True)
        except (ValueError, TypeError) as error:
            raise SlideError(f"wanted a tile table, got columns of the wrong kind: {error}") from error
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def concat(cls, tables: Iterable[Self]) -> Self:
        """All rows of several tables, in their order; an empty table if there are none."""
        frames = [table.frame for table in tables]
        return cls(pd.concat(frames) if frames else pd.DataFrame(columns=list(_COLUMNS)))

    def save(self, path: str | Path) -> None:
        """Writes the table as parquet, whole or not at all.

        Raises:
            SlideError: The file cannot be written.
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            self.frame.to_parquet(partial, engine="pyarrow", index=False)
            os.replace(partial, path)  # noqa: PTH105 - named for what it does
        except OSError as error:
            raise SlideError(f"{path} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a table that `save` wrote.

        Raises:
            SlideError: The file is missing or is no tile table.
        """
        try:
            return cls(pd.read_parquet(path, engine="pyarrow"))
        except FileNotFoundError:
            raise SlideError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise SlideError(f"{path} is no tile table: {reason}") from error


def find_tiles(
    slides: Iterable[Slide],
    *,
    field_l0: float,
    rule: TissueRule,
    stride_l0: float | None = None,
    min_tissue: float = 0.05,
    split: str = "train",
) -> TileTable:
    """Finds the tiles of slides that hold tissue.

    Tiles lie on a grid inside each slide, centred on it. Where a slide is smaller than the field, one tile is centred
    on it and reaches over its edges. The share of tissue is that of pixels whose colour passes the rule, at 32 px a
    tile; the rule's erosion and dilation, made for another scale, play no part.

    Args:
        slides: Slides to look at; each must know its path.
        field_l0: Side of a tile, level-0 pixels.
        rule: What counts as tissue.
        stride_l0: Distance between tiles, level-0 pixels; one field if not given.
        min_tissue: Least share of tissue of a tile that is kept.
        split: What to write in the column `split`.

    Returns:
        The kept tiles, slide by slide, row by row, empty if there are none. `patient` is the slide's name.

    Raises:
        SlideError: A slide cannot be read or has no path, or a field, stride or share is out of range.
    """
    stride_l0 = field_l0 if stride_l0 is None else stride_l0
    if not (field_l0 > 0 and stride_l0 >= 1):
        raise SlideError(f"wanted a positive field and a stride of at least 1 px, got {field_l0} and {stride_l0}")
    if not 0 <= min_tissue <= 1:
        raise SlideError(f"wanted a share of tissue in [0, 1], got {min_tissue}")
    rows: list[dict[str, object]] = []
    for slide in slides:
        if slide.path is None:
            raise SlideError("wanted slides that know their path, for the table: give ArraySlide a path")
        xs, ys = (_centred(length, field_l0, stride_l0) for length in slide.size_l0)
        name = slide.path.stem
        for y in ys:
            for x, tissue in zip(xs, _tissue_in_row(slide, xs, y, field_l0, rule), strict=True):
                if tissue >= min_tissue:
                    place = {"patient": name, "slide": name, "path": str(slide.path), "x_l0": x, "y_l0": y}
                    rows.append(place | {"field_l0": field_l0, "tissue": tissue, "split": split})
    return TileTable(pd.DataFrame(rows, columns=list(_COLUMNS)))


def overview(slide: Slide, table: TileTable, rule: TissueRule, size_px: int) -> Image:
    """Draws a slide with its tissue outlined in green and its tiles in blue, for people to look at.

    Args:
        slide: The slide.
        table: Tiles, of this slide and others.
        rule: What to outline; by colour alone, as in `find_tiles`.
        size_px: Longer side of the drawing.

    Returns:
        (H, W, 3) uint8.

    Raises:
        SlideError: The slide cannot be read.
    """
    width, height = slide.size_l0
    scale = max(width, height) / size_px
    picture = slide.read((0, 0), (width, height), (max(1, round(width / scale)), max(1, round(height / scale))))
    mask = colour_mask(picture, rule)
    drawn = picture.copy()
    drawn[mask & ~ndimage.binary_erosion(mask)] = (0, 160, 0)
    canvas = PilImage.fromarray(drawn)
    pen = ImageDraw.Draw(canvas)
    own = table.frame[table.frame["path"] == str(slide.path)]
    for x, y, field in zip(own["x_l0"], own["y_l0"], own["field_l0"], strict=True):
        pen.rectangle((x / scale, y / scale, (x + field) / scale, (y + field) / scale), outline=(0, 0, 220))
    return np.array(canvas)


def _centred(length: int, field: float, stride: float) -> list[int]:
    """Where tiles begin along one side of a slide, to the nearest whole pixel below."""
    count = 1 + max(0, int((length - field) // stride))
    first = (length - field - (count - 1) * stride) / 2
    return [int(np.floor(first + index * stride)) for index in range(count)]


def _tissue_in_row(slide: Slide, xs: list[int], y: int, field: float, rule: TissueRule) -> list[float]:
    """Share of tissue of each tile of one row, from one strip."""
    scale = field / _PX_PER_TILE
    columns = [round((x - xs[0]) / scale) for x in xs]
    width = columns[-1] + _PX_PER_TILE
    strip = slide.read((xs[0], y), (width * scale, field), (width, _PX_PER_TILE))
    mask: NDArray[np.bool_] = colour_mask(strip, rule)
    return [float(mask[:, column : column + _PX_PER_TILE].mean()) for column in columns]
