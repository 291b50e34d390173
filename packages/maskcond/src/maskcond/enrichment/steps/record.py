"""The record in a step's folder: its settings, inputs, outputs and time."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.steps.digests import Sizes
from run_folder import whole_file

RECORD_FILE = "step.json"
ADDED_SETTINGS = {"scale": 0.0, "distances": False, "block_px": 1, "flips": False}
"""Settings that the records of earlier versions lack, with the values for which the outputs are those of before."""


@dataclass
class StepRecord:
    """The record of a step.

    Args:
        settings: Settings of the step.
        reads: Digests of the steps that it reads, by name.
        done: Whether the step is done.
        digest: Digest of its outputs, once it is done.
        files: Sizes and modification times of its outputs.
        units: Number of units done.
        seconds: Time of these units over all runs, s.
        bytes: Size of its folder, once it is done.
        written: Files that it wrote, once it is done or while it is dropped; only these are removed.
        strangers: The user's files that were in its folder when it began.
        dropping: Whether its files are being removed.
    """

    settings: dict[str, Any]
    reads: dict[str, str]
    done: bool = False
    digest: str = ""
    files: Sizes = field(default_factory=dict)
    units: int = 0
    seconds: float = 0.0
    bytes: int = 0
    written: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    dropping: bool = False

    @classmethod
    def load(cls, folder: Path) -> "StepRecord | None":
        """Reads a step's record; None if its folder has none.

        Raises:
            EnrichmentError: The record is damaged, or the folder holds files but no record.
        """
        path = folder / RECORD_FILE
        try:
            record = cls(**json.loads(path.read_text(encoding="utf-8")))
            record.files = {name: (int(size), int(time)) for name, (size, time) in record.files.items()}
        except FileNotFoundError:
            if folder.is_dir() and any(path.is_file() for path in folder.iterdir()):
                raise EnrichmentError(f"{folder} holds files but is not a step of a run; take another folder") from None
            return None
        except (ValueError, TypeError, AttributeError) as error:
            raise EnrichmentError(f"{path} is damaged ({error}); delete {folder} to do the step again") from None
        return record

    def save(self, folder: Path) -> None:
        """Writes the record, under a temporary name until the file is complete."""
        with whole_file(folder / RECORD_FILE) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    def difference(self, settings: dict[str, Any], reads: dict[str, str]) -> str | None:
        """Describes what has changed since the step was recorded; None if nothing has."""
        if self.dropping:
            return "it was being dropped"
        if (key := _first_difference(self.settings, settings)) is not None:
            return f"{key} has changed"
        for name in self.reads.keys() | reads.keys():
            if self.reads.get(name) != reads.get(name):
                return f"the output of '{name}' has changed"
        return None


def plain(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(settings))
    return values


def _first_difference(old: Any, new: Any) -> str | None:
    """The key, dotted, of the first value that differs; None if all are equal, '' if the values themselves differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in old or key not in new:
                if key in ADDED_SETTINGS and (old | new)[key] == ADDED_SETTINGS[key]:
                    continue
                return str(key)
            if (inner := _first_difference(old[key], new[key])) is not None:
                return f"{key}.{inner}".rstrip(".")
        return None
    return None if old == new else ""
