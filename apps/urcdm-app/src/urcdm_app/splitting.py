"""Patients and splits, as they are given on the command line."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from urcdm_app.errors import UsageError
from wsi_tiling.slide_files import SLIDE_SUFFIXES


def read_patients(path: Path, slides: list[Path]) -> dict[str, str]:
    """Reads the patient of each slide from a CSV file with the columns 'slide' and 'patient'.

    Args:
        path: The file. Slides are named in it as their files are, with or without the ending.
        slides: Slides that have to be in it; others may be.

    Raises:
        UsageError: It cannot be read, names two patients for one slide, or lacks one of the slides.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            columns = lines.fieldnames or []
            rows = list(lines)
    except FileNotFoundError:
        raise UsageError(f"--patients {path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--patients {path}: cannot be read as CSV ({error})") from None
    if not {"slide", "patient"} <= set(columns):
        raise UsageError(f"--patients {path}: wanted the columns slide,patient; got {','.join(columns) or 'none'}")
    patients: dict[str, str] = {}
    for row in rows:
        name, patient = _name((row["slide"] or "").strip()), (row["patient"] or "").strip()
        if patient and patients.setdefault(name, patient) != patient:
            raise UsageError(f"--patients {path}: slide '{name}' has two patients, {patients[name]} and {patient}")
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
    return path.stem if path.suffix.lower() in SLIDE_SUFFIXES else path.name
