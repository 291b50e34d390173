"""Records in files: the settings of a run, so that a later run resumes it only with the same settings."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from run_folder import first_line, whole_file
from wsi_tiling.errors import SlideError

_KEY = b"wsi_tiling"


def save_frame(frame: pd.DataFrame, path: Path, note: Mapping[str, Any]) -> None:
    """Writes a table as parquet with a note in it, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _KEY: json.dumps(note).encode()})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    with whole_file(path) as partial:
        partial.write_bytes(stream.getvalue())


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
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


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
        raise SlideError(f"{path} was changed since it was written; remove it")
    return values


def as_json(values: Any) -> Any:
    """Settings as JSON reads them back: tuples become lists."""
    return json.loads(json.dumps(values, default=float))
