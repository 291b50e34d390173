"""Patients and splits of the command line."""

import re
from collections.abc import Mapping
from pathlib import Path

from run_folder import CsvRow, TableError, UsageError, plain_name, read_table
from wsi_tiling import SLIDE_SUFFIXES

_MISSING = ("nan", "na", "n/a", "none", "null", "nat", "<na>")
"""Texts that programs write for a missing value."""


def read_patients(path: Path, slides: list[Path]) -> dict[str, str]:
    """Reads the patient of each slide from a CSV file with the columns 'slide' and 'patient'.

    Args:
        path: The file. Slides are named in it as their files are, with or without the ending.
        slides: Slides that have to be in it; others may be.

    Returns:
        The patient of each slide of the table, and of each of `slides`, by the name of its file without the ending.

    Raises:
        UsageError: It cannot be read, has a missing value or two patients for one slide, or lacks one of the slides.
    """
    try:
        table = read_table(path, ("slide", "patient"))
    except TableError as error:
        raise UsageError(f"--patients {error}") from None
    rows: dict[str, CsvRow] = {}
    for row in table:
        name = _name(row["slide"])
        if not row["patient"]:
            continue
        if row["patient"].casefold() in _MISSING:
            raise UsageError(
                f"--patients {path}: line {row.line}: the patient is '{row['patient']}', which stands for a missing "
                "value; fill it in"
            )
        if (first := rows.setdefault(name, row))["patient"] != row["patient"]:
            raise UsageError(
                f"--patients {path}: slide '{name}' has two patients, {first['patient']} and {row['patient']}, in "
                f"lines {first.line} and {row.line}; keep one of them"
            )
    patients = {name: row["patient"] for name, row in rows.items()}
    patients |= {slide.stem: patients[name] for slide in slides if (name := plain_name(slide.stem)) in patients}
    missing = [slide.stem for slide in slides if slide.stem not in patients]
    if missing:
        raise UsageError(f"--patients {path}: no patient for slide '{missing[0]}', one of {len(missing)} without")
    return patients


def patient_of(name: str, patients: Mapping[str, str] | None) -> str:
    """The patient of a slide; the slide stands for its patient if patients are not given."""
    return name if patients is None else patients[name]


def read_fractions(text: str) -> dict[str, float]:
    """Reads 'train=0.8,validation=0.1,test=0.1'.

    Raises:
        UsageError: It is something else, or the shares do not add up to 1.
    """
    parts = [re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*=\s*([0-9.]+)\s*", part) for part in text.split(",")]
    try:
        fractions = {part[1]: float(part[2]) for part in parts if part is not None}
    except ValueError:
        fractions = {}
    if len(fractions) < len(parts) or not all(fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise UsageError(
            f"--split {text}: wanted names and shares that add up to 1, such as train=0.8,validation=0.1,test=0.1"
        )
    return fractions


def check_enough(fractions: Mapping[str, float], patients: set[str]) -> None:
    """Raises UsageError if there are fewer patients than splits."""
    if len(patients) < len(fractions):
        raise UsageError(
            f"--split: wanted a patient for each of {len(fractions)} splits, got {len(patients)}; a patient's slides "
            "stay together, and a slide stands for its patient without --patients"
        )


def _name(text: str) -> str:
    """A slide's name, given with or without the ending of its file."""
    path = Path(text)
    return plain_name(path.stem if path.suffix.lower() in SLIDE_SUFFIXES else path.name)
