"""Tables of tiles, kept as parquet."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from run_folder import first_line, whole_file
from wsi_tiling.checks import check_number
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.slide import Slide
from wsi_tiling.reading.slide_identity import slide_identity

COLUMNS = {
    "patient": "str",
    "slide": "str",
    "path": "str",
    "slide_id": "str",
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

    Columns: `patient`, `slide` (its name), `path`, `slide_id` (its identity by content, see `slide_identity`), `x_l0`
    and `y_l0` (upper left corner, whole level-0 pixels, may lie outside the slide), `field_l0` (side, level-0 pixels),
    `tissue` (share of the tile, in [0, 1]), `split`.

    Args:
        frame: The rows; columns are put in order and cast. Without `slide_id`, as in tables of version 0.1, or where it
            is missing, the identity is unknown: ''.

    Raises:
        SlideError: A column is missing, is not known, or holds what it cannot, such as a field that is not a positive
            number.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        given = self.frame if "slide_id" in self.frame else self.frame.assign(slide_id="")
        missing = [name for name in COLUMNS if name not in given]
        surplus = [str(name) for name in given if name not in COLUMNS]
        if missing or surplus:
            raise SlideError(f"wanted a tile table, got one without columns {missing} and with unknown {surplus}")
        try:
            frame = given.assign(slide_id=given["slide_id"].fillna(""))[list(COLUMNS)]
            frame = frame.astype(COLUMNS).reset_index(drop=True)
        except (ValueError, TypeError) as error:
            raise SlideError(
                f"wanted a tile table, got columns of the wrong kind: {first_line(error)}; make the table again"
            ) from error
        _check_numbers(frame)
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def concat(cls, tables: Iterable[Self]) -> Self:
        """All rows of several tables, in their order; an empty table if there are none."""
        frames = [table.frame for table in tables]
        return cls(pd.concat(frames) if frames else pd.DataFrame(columns=list(COLUMNS)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as parquet, whole or not at all.

        Raises:
            SlideError: The file cannot be written.
        """
        path = Path(path)
        try:
            with whole_file(path) as partial:
                self.frame.to_parquet(partial, engine="pyarrow", index=False)
        except OSError as error:
            raise SlideError(f"{path} cannot be written: {error.strerror or first_line(error)}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a table that `save` wrote.

        Raises:
            SlideError: The file is missing or is not a tile table.
        """
        try:
            return cls(pd.read_parquet(path, engine="pyarrow"))
        except FileNotFoundError:
            raise SlideError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:
            raise SlideError(f"{path} is not a tile table: {first_line(error)}") from error


def _check_numbers(frame: pd.DataFrame) -> None:
    """Raises SlideError unless fields are positive and finite, and shares of tissue in [0, 1]."""
    field, tissue = (frame[name].to_numpy(np.float64) for name in ("field_l0", "tissue"))
    bad = np.flatnonzero(~(np.isfinite(field) & (field > 0) & (tissue >= 0) & (tissue <= 1)))
    if len(bad):
        row = frame.iloc[bad[0]]
        raise SlideError(
            f"wanted tiles with a positive field and a share of tissue in [0, 1], got field_l0 {row['field_l0']} and "
            f"tissue {row['tissue']} in row {bad[0]} of slide '{row['slide']}', one of {len(bad)}; make the table again"
        )


def identity(slide: Slide, patient_of: PatientOf | None) -> dict[str, str]:
    """The values that a slide's rows share: `patient`, `slide`, `path` and `slide_id`, '' if there is no such file.

    Args:
        slide: The slide.
        patient_of: Tells the patient by the slide's name; that name itself if None.

    Raises:
        SlideError: The slide has no path, or its patient is not known.
    """
    if slide.path is None:
        raise SlideError("the table needs the path of each slide: give ArraySlide a path")
    name = patient = slide.path.stem
    if isinstance(patient_of, Mapping):
        if name not in patient_of:
            raise SlideError(f"the patient of slide '{name}' is not known: add the slide to patient_of")
        patient = patient_of[name]
    elif patient_of is not None:
        patient = patient_of(name)
    try:
        slide_id = slide_identity(slide.path)
    except SlideError:  # a slide in memory may name a file that is gone
        slide_id = ""
    return {"patient": patient, "slide": name, "path": str(slide.path), "slide_id": slide_id}


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
    check_number("a share of tissue in [0, 1]", min_tissue, least=0, most=1)
