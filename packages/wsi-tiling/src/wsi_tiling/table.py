"""Tables of tiles, kept as parquet."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsi_tiling.errors import SlideError
from wsi_tiling.slide import Slide

COLUMNS = {
    "patient": "str",
    "slide": "str",
    "path": "str",
    "x_l0": "int64",
    "y_l0": "int64",
    "field_l0": "float64",
    "tissue": "float64",
    "split": "str",
}

PatientOf: TypeAlias = Mapping[str, str] | Callable[[str], str]
"""The patient of a slide, by the slide's name."""


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
        missing = [name for name in COLUMNS if name not in self.frame]
        surplus = [str(name) for name in self.frame if name not in COLUMNS]
        if missing or surplus:
            raise SlideError(f"wanted a tile table, got one without columns {missing} and with unknown {surplus}")
        try:
            frame = self.frame[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
        except (ValueError, TypeError) as error:
            raise SlideError(f"wanted a tile table, got columns of the wrong kind: {error}") from error
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def concat(cls, tables: Iterable[Self]) -> Self:
        """All rows of several tables, in their order; an empty table if there are none."""
        frames = [table.frame for table in tables]
        return cls(pd.concat(frames) if frames else pd.DataFrame(columns=list(COLUMNS)))

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


def identity(slide: Slide, patient_of: PatientOf | None) -> dict[str, str]:
    """What tells a slide's rows from others: `patient`, `slide` and `path`.

    Args:
        slide: The slide.
        patient_of: Tells the patient by the slide's name; that name itself if None.

    Raises:
        SlideError: The slide has no path, or its patient is not known.
    """
    if slide.path is None:
        raise SlideError("wanted slides that know their path, for the table: give ArraySlide a path")
    name = patient = slide.path.stem
    if isinstance(patient_of, Mapping):
        if name not in patient_of:
            raise SlideError(f"the patient of slide '{name}' is not known; those of {len(patient_of)} others are")
        patient = patient_of[name]
    elif patient_of is not None:
        patient = patient_of(name)
    return {"patient": patient, "slide": name, "path": str(slide.path)}


def tiles_at(
    places: Iterable[tuple[int, int, float]], field_l0: float, split: str, identity: Mapping[str, str]
) -> TileTable:
    """Makes a table of tiles of one slide from x, y and the share of tissue of each."""
    rows = pd.DataFrame(list(places), columns=["x_l0", "y_l0", "tissue"])
    return TileTable(rows.assign(field_l0=float(field_l0), split=split, **identity))


def at_least(
    shares: NDArray[np.float64], min_tissue: float, xs: Sequence[int], ys: Sequence[int]
) -> Iterator[tuple[int, int, float]]:
    """Yields x, y and share of those places of a grid whose share is large enough, row by row."""
    return ((xs[col], ys[row], float(shares[row, col])) for row, col in np.argwhere(shares >= min_tissue))


def check_share(min_tissue: float) -> None:
    """Raises SlideError unless a share of tissue is in [0, 1]."""
    if not 0 <= min_tissue <= 1:
        raise SlideError(f"wanted a share of tissue in [0, 1], got {min_tissue}")
