"""Files of outlines: Aperio's XML and GeoJSON, chosen by the file's ending."""

from collections.abc import Callable, Sequence
from pathlib import Path

from maskcond.annotations.aperio_xml import aperio_text, parse_aperio
from maskcond.annotations.geojson import geojson_text, parse_geojson
from maskcond.annotations.outlines import Outline
from maskcond.errors import AnnotationError
from run_folder import whole_file

MAX_FILE_BYTES = 2**30
"""Largest accepted file, because files are read into memory."""
_FORMS = {
    ".xml": (parse_aperio, aperio_text),
    ".geojson": (parse_geojson, geojson_text),
    ".json": (parse_geojson, geojson_text),
}


def read_outlines(path: str | Path) -> list[Outline]:
    """Reads the outlines of a file, in order: XML of Aperio ImageScope (.xml) or GeoJSON (.geojson, .json).

    QuPath's cells have two outlines, of which that of the nucleus is read.

    Raises:
        AnnotationError: The file is missing, too large, damaged, hostile or of another kind, or mixes objects with
            regions around them.
    """
    path = Path(path)
    parse, _ = _form(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise AnnotationError(f"wanted at most {MAX_FILE_BYTES >> 20} MiB")
        return parse(path.read_bytes())
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}") from None
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from None


def write_outlines(path: str | Path, outlines: Sequence[Outline]) -> None:
    """Writes outlines in the format of the file's ending; the file replaces an existing one once it is complete.

    XML has no objects of several pieces: each piece becomes a separate object.

    Raises:
        AnnotationError: The name ends in none of .xml, .geojson, .json.
        OSError: The file cannot be written.
    """
    path = Path(path)
    _, text = _form(path)
    with whole_file(path) as partial:
        partial.write_bytes(text(outlines))


def _form(path: Path) -> tuple[Callable[[bytes], list[Outline]], Callable[[Sequence[Outline]], bytes]]:
    if path.suffix.lower() not in _FORMS:
        raise AnnotationError(f"{path}: wanted a file of outlines, .xml, .geojson or .json")
    return _FORMS[path.suffix.lower()]
