"""Notes in files: what a run was asked for, so that a later one goes on only with the same."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wsi_tiling.errors import SlideError, first_line

_KEY = b"wsi_tiling"


def save_frame(frame: pd.DataFrame, path: Path, note: Mapping[str, Any]) -> None:
    """Writes a table as parquet with a note in it, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _KEY: json.dumps(note).encode()})
    partial = partial_path(path)
    try:
        pq.write_table(table, partial)
        os.replace(partial, path)  # noqa: PTH105 - named for what it does
    finally:
        partial.unlink(missing_ok=True)


def frame_note(path: Path) -> dict[str, Any] | None:
    """The note in a table, without reading the table; None if there is no such file, or nothing of that kind in it."""
    try:
        note = json.loads(pq.read_schema(path).metadata[_KEY])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if isinstance(note, dict) else None


def save_json(values: Mapping[str, Any], path: Path) -> None:
    """Writes a JSON file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    partial = partial_path(path)
    try:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)  # noqa: PTH105 - named for what it does
    finally:
        partial.unlink(missing_ok=True)


def load_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON file that `save_json` wrote; None if there is none.

    Raises:
        SlideError: It holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SlideError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise SlideError(f"{path} is not what was written here")
    return values


def differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Tells where two settings differ, as in 'rule.min_hue 0.5, not 0.8'; both of what JSON knows."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**found, **wanted}:
            yield from differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from differences(one, other, f"{name}.{number}")
    elif found != wanted:
        yield f"{name} {json.dumps(found)}, not {json.dumps(wanted)}"


def as_json(values: Any) -> Any:
    """What JSON makes of settings: tuples become lists."""
    return json.loads(json.dumps(values))


def partial_path(path: Path) -> Path:
    """Where to write a file that is not whole yet: hidden, beside it, under a name of its own."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
